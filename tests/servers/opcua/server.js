// An OPC UA server for tests: node server.js '{"users":{"op":"secret"}, …}'.
// Prints one line of JSON ({"port":…}) when it is ready; ends when its standard input closes. Each line there is an
// order ({"do":"add","name":"Late","value":7}), answered by a line on standard output.
"use strict";

const { createRequire } = require("node:module");
const net = require("node:net");
const path = require("node:path");
const readline = require("node:readline");

console.log = console.info = console.debug = console.error; // standard output is for the port alone

const options = {
    port: 0, // 0: a free one
    modules: __dirname, // folder that has node_modules
    limits: {}, // operation limits that are announced and enforced, such as {"maxNodesPerRead": 100}
    structures: false, // true: also the types of types.xml and variables that hold them
    floats: 300, // variables Float.000 … whose value is their number and a half
    history: false, // true: the server keeps a history of Counter and Sine
    fast: false, // true: variable Fast counts a thousand times a second
    security: false, // true: also every policy that is not deprecated, Sign and SignAndEncrypt
    certificate: undefined, // PEM files
    key: undefined,
    pki: undefined, // folder with server/trusted/certs/*.der (clients) and user/trusted/certs/*.der
    tokenLifetime: undefined, // milliseconds that a secure channel's token lives
    maxSessions: 100,
    maxSubscriptions: 100,
    maxItems: 0, // of one subscription, announced and enforced; 0: very many
    toldMaxItems: undefined, // what is announced instead
    anonymous: true,
    users: {}, // name to password
    uri: "urn:edge-agent:test-server", // what the server says it is
    machineTools: [], // names of machine tools after OPC 40501-1; loads its nodesets
    sinumerik: false, // true: a few variables under the names of a SINUMERIK control
    folders: 0, // folders Folder.0 … of folderSize variables each
    folderSize: 0,
    continuations: 0, // browse continuation points of a session; 0: no limit
    described: {}, // variables besides, see described.js
    analog: {}, // variables besides that have a unit and a range: {"Load": ["percent", 0, 120]}
    filler: 0, // namespaces registered ahead of the tested one: shuffles its index
    ...JSON.parse(process.argv[2] || "{}"),
};

const addAlarms = require("./alarms.js");
const addDescribed = require("./described.js");
const addStructures = require("./structures.js");
const addWritable = require("./writable.js");

const load = createRequire(path.join(options.modules, "package.json"));
const { OPCUAServer } = load("node-opcua-server");
const { nodesets } = load("node-opcua-nodesets");
const { OPCUACertificateManager } = load("node-opcua-certificate-manager");
const { DataType, Variant, VariantArrayType } = load("node-opcua-variant");
const { DataValue } = load("node-opcua-data-value");
const { standardUnits } = load("node-opcua-data-access");
const { coerceExpandedNodeId, coerceNodeId } = load("node-opcua-nodeid");
const { StatusCodes } = load("node-opcua-status-code");
const { MessageSecurityMode, SecurityPolicy } = load("node-opcua-secure-channel");

const { addMachineTool, nodesetFiles } = require("./machine_tool.js");

function freePort() {
    return new Promise((resolve, reject) => {
        const probe = net.createServer();
        probe.once("error", reject);
        probe.listen(0, "127.0.0.1", () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
}

function pad(number, width) {
    return String(number).padStart(width, "0");
}

function addVariables(addressSpace) {
    const namespace = addressSpace.registerNamespace("http://example.com/cnc");
    const folder = namespace.addFolder(addressSpace.rootFolder.objects, { browseName: "CNC", nodeId: "s=CNC" });
    const add = (name, dataType, value, more = {}) => {
        const variable = namespace.addVariable({
            componentOf: folder,
            browseName: name,
            nodeId: `s=${name}`,
            dataType,
            minimumSamplingInterval: 10,
            ...more,
        });
        if (value !== undefined) {
            variable.setValueFromSource({ dataType, arrayType: VariantArrayType.Scalar, value });
        }
        return variable;
    };

    for (let i = 0; i < options.floats; i++) {
        add(`Float.${pad(i, 3)}`, DataType.Double, i + 0.5);
    }
    namespace.addVariable({
        componentOf: folder, browseName: "Numeric", nodeId: "i=5001", dataType: DataType.UInt16,
    }).setValueFromSource({ dataType: DataType.UInt16, value: 65535 });

    namespace.addAnalogDataItem({
        componentOf: folder, browseName: "Pressure", displayName: "油压", nodeId: "s=Pressure", dataType: DataType.Double,
        engineeringUnits: standardUnits.bar, engineeringUnitsRange: { low: 0, high: 250 },
    }).setValueFromSource({ dataType: DataType.Double, value: 61.5 });
    for (const [name, [unit, low, high]] of Object.entries(options.analog)) {
        namespace.addAnalogDataItem({
            componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType: DataType.Double,
            engineeringUnits: standardUnits[unit], engineeringUnitsRange: { low, high },
        }).setValueFromSource({ dataType: DataType.Double, value: 1 });
    }
    add("Running", DataType.Boolean, true);
    add("Program", DataType.String, "O1234 齿轮");
    add("Label", DataType.LocalizedText, { locale: "en", text: "Spindle" });
    add("Feed", DataType.Float, 1.5);
    add("SByte", DataType.SByte, -128);
    add("Byte", DataType.Byte, 255);
    add("Int16", DataType.Int16, -32768);
    add("Int32", DataType.Int32, -2147483648);
    add("UInt32", DataType.UInt32, 4294967295);
    add("PartCount", DataType.Int64, [0x00200000, 0x00000001]); // 2^53 + 1
    add("UInt64", DataType.UInt64, [0xffffffff, 0xffffffff]);
    add("Started", DataType.DateTime, new Date("2026-01-02T03:04:05.678Z"));
    add("Guid", DataType.Guid, "72962B91-FA75-4AE6-8D28-B404DC7DAF63");
    add("Blob", DataType.ByteString, Buffer.from([0, 1, 255]));
    add("NotANumber", DataType.Double, NaN);
    add("Xml", DataType.XmlElement, "<a/>");
    add("NodeId", DataType.NodeId, coerceNodeId("ns=2;s=Axis"));
    add("ExpandedNodeId", DataType.ExpandedNodeId, coerceExpandedNodeId("ns=2;i=5"));
    add("StatusCode", DataType.StatusCode, StatusCodes.BadSensorFailure);
    add("QualifiedName", DataType.QualifiedName, { namespaceIndex: 2, name: "Axis" });
    add("Variant.Int16", "BaseDataType").setValueFromSource({ dataType: DataType.Int16, value: -5 });

    const axes = add("Axes", DataType.Double, undefined, { valueRank: 1, arrayDimensions: [3] });
    axes.setValueFromSource(new Variant({
        dataType: DataType.Double, arrayType: VariantArrayType.Array, value: [1, 2, 3],
    }));
    const array = (name, dataType, value, dimensions) => {
        const rank = dimensions ? dimensions.length : 1;
        add(name, dataType, undefined, { valueRank: rank, arrayDimensions: dimensions || [0] }).setValueFromSource(
            new Variant({
                dataType, arrayType: dimensions ? VariantArrayType.Matrix : VariantArrayType.Array, value, dimensions,
            }),
        );
    };
    array("Matrix", DataType.Int32, new Int32Array([1, 2, 3, 4, 5, 6]), [2, 3]);
    array("Texts", DataType.String, ["齿轮", "", null]);
    array("Flags", DataType.Boolean, [true, false]);
    array("Counts", DataType.UInt64, [[0, 1], [0x00200000, 0x00000001]]);
    array("Blobs", DataType.ByteString, [Buffer.from([0, 255]), null]);
    array("Moments", DataType.DateTime, [new Date("2026-01-02T03:04:05.678Z")]);
    array("Empty", DataType.Double, []);
    const stateType = namespace.addEnumerationType({
        browseName: "MachineState", enumeration: ["Stopped", "Running", "Alarm"],
    });
    const state = add("State", stateType.nodeId);
    state.setValueFromSource({ dataType: DataType.Int32, value: 1 });

    add("Broken", DataType.Double).setValueFromSource(
        { dataType: DataType.Double, value: 0 }, StatusCodes.BadSensorFailure,
    );
    add("Doubtful", DataType.Double).setValueFromSource(
        { dataType: DataType.Double, value: 7.5 }, StatusCodes.UncertainLastUsableValue,
    );
    add("Stamped", DataType.Double).setValueFromSource(
        { dataType: DataType.Double, value: 1 }, StatusCodes.Good, new Date("2026-01-02T03:04:05.678Z"),
    );
    const dated = { // the source was heard of hours after
        sourceTimestamp: new Date("2026-01-02T03:04:05.678Z"), serverTimestamp: new Date("2026-01-02T09:04:05.679Z"),
    };
    add("Dated", DataType.Double).bindVariable({
        timestamped_get: () => new DataValue({ value: { dataType: DataType.Double, value: 1 }, ...dated }),
    }, true);
    addChanging(add);
    addFolders(namespace, folder);
    if (options.structures) {
        addStructures(addressSpace, namespace, folder, { DataType, Variant, VariantArrayType });
    }
    addWritable(namespace, folder, { DataType, StatusCodes, Variant, VariantArrayType });
    addDescribed(namespace, folder, options.described, { DataType, StatusCodes, Variant, VariantArrayType });
}

function addSinumerik(addressSpace) {
    const namespace = addressSpace.registerNamespace("SinumerikVarProvider");
    const folder = namespace.addFolder(addressSpace.rootFolder.objects, { browseName: "Sinumerik", nodeId: "s=Sinumerik" });
    const variables = {
        "/Channel/State/progStatus": [DataType.UInt32, 3],
        "/Channel/ProgramInfo/progName": [DataType.String, "_N_O1234_MPF"],
        "/Channel/State/actParts": [DataType.Double, 77],
        "/Channel/Spindle/speedOvr": [DataType.Double, 110],
    };
    for (const [path, [dataType, value]] of Object.entries(variables)) {
        const browseName = path.split("/").at(-1);
        namespace.addVariable({ componentOf: folder, browseName, nodeId: `s=${path}`, dataType })
            .setValueFromSource({ dataType, value });
    }
}

function addFolders(namespace, folder) {
    for (let i = 0; i < options.folders; i++) {
        const crowded = namespace.addFolder(folder, { browseName: `Folder.${i}` });
        for (let j = 0; j < options.folderSize; j++) {
            const name = `V${pad(j, 5)}`;
            namespace.addVariable({
                componentOf: crowded, browseName: name, nodeId: `s=F${i}.${name}`, dataType: DataType.Double,
            });
        }
    }
}

function addChanging(add) {
    const counter = add("Counter", DataType.Int32, 0);
    const sine = add("Sine", DataType.Double, 0);
    const flicker = add("Flicker", DataType.Double, 0);
    let n = 0;
    setInterval(() => {
        n += 1;
        counter.setValueFromSource({ dataType: DataType.Int32, value: n });
        sine.setValueFromSource({ dataType: DataType.Double, value: Math.sin(n / 10) });
        const status = n % 2 ? StatusCodes.BadNoCommunication : StatusCodes.Good;
        flicker.setValueFromSource({ dataType: DataType.Double, value: n }, status);
    }, 50);

    if (options.history) {
        for (const variable of [counter, sine]) {
            variable.addressSpace.installHistoricalDataNode(variable, { maxOnlineValues: 10_000 });
        }
    }

    if (options.fast) {
        const fast = add("Fast", DataType.Int32, 0, { minimumSamplingInterval: 0 });
        const began = process.hrtime.bigint();
        let count = 0;
        setInterval(() => {
            const due = Number((process.hrtime.bigint() - began) / 1_000_000n);
            while (count < due) { // timers come late; none of the changes is left out
                count += 1;
                fast.setValueFromSource({ dataType: DataType.Int32, value: count });
            }
        }, 1);
    }
}

// Sessions and nodes come and go while the server runs.
function carryOut(server, alarms, order) {
    const { addressSpace } = server.engine;
    const namespace = addressSpace.getNamespace("http://example.com/cnc");
    const find = (name) => namespace.findNode(`s=${name}`);
    if (order.do === "add") {
        const dataType = DataType.Double;
        namespace.addVariable({
            componentOf: find("Counter").parent,
            browseName: order.name,
            nodeId: `s=${order.name}`,
            dataType,
            minimumSamplingInterval: 10,
        }).setValueFromSource({ dataType, value: order.value });
    } else if (order.do === "remove") {
        namespace.deleteNode(find(order.name));
    } else if (order.do === "set") {
        find(order.name).setValueFromSource({ dataType: DataType.Double, value: order.value });
    } else if (order.do === "closeSessions") {
        const sessions = Object.values(server.engine._sessions);
        for (const session of sessions) {
            server.engine.closeSession(session.authenticationToken, true, "Terminated");
        }
        return { closed: sessions.length };
    } else if (order.do === "sessions") {
        return {
            now: server.engine.currentSessionCount,
            ever: server.engine.serverDiagnosticsSummary.cumulatedSessionCount,
        };
    } else {
        return alarms[order.do](order) || {};
    }
    return {};
}

async function main() {
    const pki = (folder) => new OPCUACertificateManager({
        rootFolder: path.join(options.pki, folder), automaticallyAcceptUnknownCertificate: false, disableFileWatchers: true,
    });
    const port = options.port || await freePort();
    const server = new OPCUAServer({
        host: "127.0.0.1",
        hostname: "127.0.0.1",
        port,
        ...(options.machineTools.length || options.structures ? { nodeset_filename: [
            ...(options.machineTools.length ? nodesetFiles(load) : [nodesets.standard]),
            ...(options.structures ? [path.join(__dirname, "types.xml")] : []),
        ] } : {}),
        securityPolicies: [SecurityPolicy.None, ...(options.security ? [
            SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep, SecurityPolicy.Aes256_Sha256_RsaPss,
        ] : [])],
        securityModes: [
            MessageSecurityMode.None,
            ...(options.security ? [MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt] : []),
        ],
        certificateFile: options.certificate,
        privateKeyFile: options.key,
        serverCertificateManager: pki("server"),
        userCertificateManager: pki("user"),
        defaultSecureTokenLifetime: options.tokenLifetime,
        allowAnonymous: options.anonymous,
        userManager: { isValidUser: (name, password) => options.users[name] === password },
        serverInfo: { applicationUri: options.uri },
        serverCapabilities: {
            operationLimits: options.limits,
            maxSessions: options.maxSessions,
            maxBrowseContinuationPoints: options.continuations,
            maxSubscriptions: options.maxSubscriptions,
            maxSubscriptionsPerSession: options.maxSubscriptions,
            ...(options.maxItems ? { maxMonitoredItemsPerSubscription: options.maxItems } : {}),
            ...(options.fast ? { minSupportedSampleRate: 0 } : {}), // every change is told
        },
    });
    await server.initialize();
    for (let i = 0; i < options.filler; i++) {
        server.engine.addressSpace.registerNamespace(`http://example.com/filler/${i}`);
    }
    addVariables(server.engine.addressSpace);
    if (options.toldMaxItems !== undefined) {
        const told = new Variant({ dataType: DataType.UInt32, value: options.toldMaxItems });
        server.engine.addressSpace.findNode("i=24104").bindVariable({ get: () => told }, true);
    }
    if (options.sinumerik) {
        addSinumerik(server.engine.addressSpace);
    }
    for (const name of options.machineTools) {
        addMachineTool(load, server.engine.addressSpace, name);
    }
    const alarms = addAlarms(
        server.engine.addressSpace.getNamespace("http://example.com/cnc"), server.engine.addressSpace,
        { DataType, StatusCodes, VariantArrayType },
    );
    await server.start();

    const orders = readline.createInterface({ input: process.stdin });
    orders.on("close", () => process.exit(0));
    orders.on("line", (line) => {
        const order = JSON.parse(line);
        process.stdout.write(`${JSON.stringify(carryOut(server, alarms, order))}\n`);
    });
    process.stdout.write(`${JSON.stringify({ port })}\n`);
}

main().catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
});
