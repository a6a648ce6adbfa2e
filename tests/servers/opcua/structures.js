// Variables that hold structures of types.xml, arrays of them, and numbers that have texts.
"use strict";

module.exports = function addStructures(addressSpace, namespace, folder, { DataType, Variant, VariantArrayType }) {
    const types = addressSpace.getNamespace("http://example.com/types");
    const make = (name, content) => addressSpace.constructExtensionObject(types.findDataType(name), content);
    const hold = (name, type, value, more = {}) => {
        namespace.addVariable({
            componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType: types.findDataType(type).nodeId, ...more,
        }).setValueFromSource(value);
    };
    const one = (value) => new Variant({ dataType: DataType.ExtensionObject, value });
    const many = (value) => new Variant({
        dataType: DataType.ExtensionObject, arrayType: VariantArrayType.Array, value,
    });
    const axis = (name, x) => make("Axis", {
        name, position: { x, y: -x }, limits: [-100, 100], path: [{ x: 1, y: 2 }, { x: 3, y: 4 }],
        busy: 2500, label: { text: "轴" }, state: 20, turn: [1, 0, 0.5, 0, 1, 0.25],
    });

    hold("Axis", "Axis", one(axis("X1", 1.5)));
    hold("AllAxes", "Axis", many([axis("X1", 1.5), axis("Y1", 2.5)]), { valueRank: 1, arrayDimensions: [2] });
    hold("Order.Full", "Order", one(make("Order", { number: 7, customer: "ACME", rest: 3 })));
    hold("Order.Short", "Order", one(make("Order", { number: 8, rest: 4 })));
    hold("Measured.Number", "Measured", one(make("Measured", { number: 2.25 })));
    hold("Measured.Text", "Measured", one(make("Measured", { text: "n/a" })));
    hold("Alarmed", "Alarmed", new Variant({ dataType: DataType.Int32, value: 20 }));
    hold("Alarmed.Odd", "Alarmed", new Variant({ dataType: DataType.Int32, value: 15 }));
};
