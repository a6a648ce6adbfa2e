// A machine tool after OPC 40501-1, made of the real nodesets: one channel, one spindle, a stacklight, a part counter.
"use strict";

// In the order in which they need each other.
const NODESETS = ["standard", "di", "machinery", "ia", "isa95JobControl", "machineryJobs", "machineTool"];

function nodesetFiles(load) {
    const { nodesets } = load("node-opcua-nodesets");
    return NODESETS.map((name) => nodesets[name]);
}

function addMachineTool(load, addressSpace, name) {
    const { DataType } = load("node-opcua-variant");
    const index = (uri) => addressSpace.getNamespaceIndex(uri);
    const tools = index("http://opcfoundation.org/UA/MachineTool/");
    const machinery = index("http://opcfoundation.org/UA/Machinery/");
    const namespace = addressSpace.getNamespace("http://example.com/cnc");
    const type = addressSpace.findObjectType("MachineToolType", tools);
    const machine = type.instantiate({
        browseName: name,
        namespace,
        organizedBy: addressSpace.findNode(`ns=${machinery};i=1001`),
        optionals: [
            "Monitoring.MachineTool.FeedOverride",
            "Monitoring.MachineTool.PowerOnDuration",
            "Monitoring.MachineTool.OperationMode",
            "Monitoring.Stacklight",
            "Identification.Model",
            "Production.ActiveProgram",
            "Production.Statistics",
            "Production.Statistics.PartsProducedInLifetime",
        ],
    });
    const monitoring = machine.getComponentByName("Monitoring");
    const channelType = addressSpace.findObjectType("ChannelMonitoringType", tools);
    channelType.instantiate({ browseName: "Channel1", namespace, componentOf: monitoring });
    const spindleType = addressSpace.findObjectType("SpindleMonitoringType", tools);
    spindleType.instantiate({ browseName: "Spindle", namespace, componentOf: monitoring, optionals: ["Override"] });

    const set = (path, dataType, value) => {
        const node = path.split("/").reduce((at, step) => at && at.getChildByName(step), machine);
        if (!node) {
            throw new Error(`the machine has no ${path}`);
        }
        node.setValueFromSource({ dataType, value });
    };
    const override = (path, value) => {
        set(path, DataType.Double, value);
        set(`${path}/EngineeringUnits`, DataType.ExtensionObject, percent(load));
    };
    set("Identification/ProductInstanceUri", DataType.String, `http://example.com/machines/${name}`);
    set("Identification/Manufacturer", DataType.LocalizedText, { locale: "zh", text: "示例机床" });
    set("Identification/SerialNumber", DataType.String, "SN-0042");
    set("Production/ActiveProgram/Name", DataType.String, "O1234");
    set("Production/Statistics/PartsProducedInLifetime", DataType.UInt32, 77);
    set("Monitoring/MachineTool/OperationMode", DataType.Int32, 1);
    override("Monitoring/MachineTool/FeedOverride", 90);
    override("Monitoring/Channel1/FeedOverride", 80);
    override("Monitoring/Spindle/Override", 110);
    set("Monitoring/Spindle/IsRotating", DataType.Boolean, true);
}

function percent(load) {
    const { EUInformation } = load("node-opcua-data-access");
    return new EUInformation({
        namespaceUri: "http://www.opcfoundation.org/UA/units/un/cefact", unitId: 20529,
        displayName: { text: "%" }, description: { text: "percent" },
    });
}

module.exports = { addMachineTool, nodesetFiles };
