// Variables as a description says: {"Speed": {"type": "Double", "value": 1.5, "status": "BadSensorFailure", "time": "…"}}.
"use strict";

module.exports = function addDescribed(namespace, folder, described, { DataType, StatusCodes, Variant, VariantArrayType }) {
    const one = (type, value) => {
        switch (type) {
        case "LocalizedText": return { text: value };
        case "ByteString": return Buffer.from(value, "hex");
        case "DateTime": return new Date(value);
        case "Float": case "Double": return Number(value); // also "NaN"
        default: return value;
        }
    };
    for (const [name, { type, value, status = "Good", time }] of Object.entries(described)) {
        const isArray = Array.isArray(value) && !(type.endsWith("Int64") && typeof value[0] === "number");
        const variable = namespace.addVariable({
            componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType: type, minimumSamplingInterval: 10,
            valueRank: isArray ? 1 : -1, ...(isArray ? { arrayDimensions: [value.length] } : {}),
        });
        const content = new Variant({
            dataType: DataType[type],
            arrayType: isArray ? VariantArrayType.Array : VariantArrayType.Scalar,
            value: isArray ? value.map((each) => one(type, each)) : one(type, value),
        });
        variable.setValueFromSource(content, StatusCodes[status], time ? new Date(time) : undefined);
    }
};
