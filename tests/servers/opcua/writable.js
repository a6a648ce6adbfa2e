// Variables that can be written, some of which are not what they seem, and methods.
"use strict";

// One of each type, with what it holds at first.
const VALUES = {
    Boolean: false, SByte: 0, Byte: 0, Int16: 0, UInt16: 0, Int32: 0, UInt32: 0, Int64: [0, 0], UInt64: [0, 0],
    Float: 0, Double: 0, String: "", ByteString: Buffer.alloc(0), Guid: "00000000-0000-0000-0000-000000000000",
    DateTime: new Date(0), LocalizedText: { text: "" },
};

module.exports = function addWritable(namespace, folder, { DataType, StatusCodes, Variant, VariantArrayType }) {
    const add = (name, dataType, value, more = {}) => {
        const variable = namespace.addVariable({
            componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 10,
            accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite", ...more,
        });
        if (value !== undefined) {
            variable.setValueFromSource({ dataType, arrayType: VariantArrayType.Scalar, value });
        }
        return variable;
    };
    // Holds what `take` makes of what is written; `take` returns a StatusCode to refuse it.
    let writes = 0;
    const odd = (name, dataType, take, failure) => {
        let held = 0;
        add(name, dataType, undefined, { value: {
            get: () => failure || new Variant({ dataType: DataType[dataType], value: held }),
            set: (variant) => {
                writes += 1;
                const taken = take(variant.value);
                held = typeof taken === "number" ? taken : held;
                return typeof taken === "number" ? StatusCodes.Good : taken;
            },
        } });
    };

    for (const [name, value] of Object.entries(VALUES)) {
        add(`Write.${name}`, DataType[name], value);
    }
    add("Write.Duration", "i=290").setValueFromSource({ dataType: DataType.Double, value: 0 });
    add("Write.Any", "i=24").setValueFromSource({ dataType: DataType.UInt16, value: 0 });
    add("Write.State", namespace.addEnumerationType({
        browseName: "Valve", enumeration: ["Closed", "Open", "Moving"],
    }).nodeId).setValueFromSource({ dataType: DataType.Int32, value: 0 });
    namespace.addTwoStateDiscrete({
        componentOf: folder, browseName: "Write.Switch", nodeId: "s=Write.Switch", trueState: "On", falseState: "Off",
        value: false, accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite",
    });
    add("Write.Array", DataType.Double, undefined, { valueRank: 1, arrayDimensions: [2] }).setValueFromSource({
        dataType: DataType.Double, arrayType: VariantArrayType.Array, value: [1, 2],
    });
    add("Write.Texts", DataType.LocalizedText, undefined, { valueRank: 1, arrayDimensions: [0] }).setValueFromSource({
        dataType: DataType.LocalizedText, arrayType: VariantArrayType.Array, value: [],
    });
    add("Write.Matrix", DataType.Int32, undefined, { valueRank: 2, arrayDimensions: [2, 2] }).setValueFromSource({
        dataType: DataType.Int32, arrayType: VariantArrayType.Matrix, dimensions: [2, 2], value: [0, 0, 0, 0],
    });
    add("ReadOnly", DataType.Double, 1, { accessLevel: "CurrentRead", userAccessLevel: "CurrentRead" });
    add("NotYours", DataType.Double, 1, { userAccessLevel: "CurrentRead" });

    odd("Counted", "Int32", (value) => value);
    odd("Clamped", "Int32", (value) => Math.min(value, 100));
    odd("Refused", "Int32", () => StatusCodes.BadOutOfRange);
    odd("Interrupted", "Int32", () => StatusCodes.BadRequestInterrupted);
    odd("TimedOut", "Int32", () => StatusCodes.BadTimeout);
    odd("Unreadable", "Int32", (value) => value, StatusCodes.BadSensorFailure);
    namespace.addVariable({
        componentOf: folder, browseName: "Writes", nodeId: "s=Writes", dataType: "Int32", minimumSamplingInterval: 10,
        value: { get: () => new Variant({ dataType: DataType.Int32, value: writes }) },
    });

    const argument = (name, dataType) => ({ name, dataType: DataType[dataType], description: { text: name } });
    const method = (browseName, inputArguments, outputArguments, run) => namespace.addMethod(folder, {
        browseName, nodeId: `s=${browseName}`, inputArguments, outputArguments,
    }).bindMethod((inputs, _context, callback) => {
        writes += 1;
        callback(null, { statusCode: StatusCodes.Good, outputArguments: [], ...run(inputs) });
    });
    const taken = [argument("byte", "Byte"), argument("int", "Int32")];
    method("Add", taken, [argument("sum", "Int32")], ([first, second]) => {
        const value = first.value + second.value;
        return value < 0 ? { statusCode: StatusCodes.BadOutOfRange }
            : { outputArguments: [{ dataType: DataType.Int32, value }] };
    });
    method("Home", [], [], () => ({}));
    method("Jam", [], [], () => ({ statusCode: StatusCodes.BadRequestInterrupted }));
};
