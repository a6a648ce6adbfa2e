// An object that reports events, and orders that raise, acknowledge and end its alarms.
"use strict";

module.exports = function addAlarms(namespace, addressSpace, { DataType, StatusCodes, VariantArrayType }) {
    addressSpace.installAlarmsAndConditionsService();
    const server = addressSpace.rootFolder.objects.server;
    const machine = namespace.addObject({
        browseName: "Machine", nodeId: "s=Machine", organizedBy: addressSpace.rootFolder.objects,
        eventNotifier: 0x01, notifierOf: server,
    });
    const alarmType = namespace.addEventType({
        browseName: "SpindleAlarmType", nodeId: "s=SpindleAlarmType",
        subtypeOf: addressSpace.findEventType("AlarmConditionType"), isAbstract: false,
    });
    const toolType = namespace.addEventType({
        browseName: "ToolEventType", nodeId: "s=ToolEventType", subtypeOf: addressSpace.findEventType("BaseEventType"),
    });
    for (const [browseName, dataType] of [["ToolNumber", "UInt16"], ["Reasons", "String"]]) {
        namespace.addVariable({ propertyOf: toolType, browseName, dataType, modellingRule: "Mandatory" });
    }
    const alarms = Object.fromEntries(["Spindle", "Coolant"].map((name) => {
        const source = namespace.addVariable({
            componentOf: machine, browseName: name, nodeId: `s=Machine.${name}`, dataType: "Boolean",
            eventSourceOf: machine, value: { dataType: "Boolean", value: false },
        });
        const type = name === "Spindle" ? alarmType : addressSpace.findEventType("DiscreteAlarmType");
        return [name, namespace.instantiateAlarmCondition(type, {
            browseName: `${name}Alarm`, nodeId: `s=${name}Alarm`, componentOf: machine, conditionSource: source,
            conditionName: `${name}Alarm`, inputNode: source,
        })];
    }));

    return {
        raise({ alarm, severity = 700, message = "" }) {
            alarms[alarm].activateAlarm();
            alarms[alarm].raiseNewCondition({ severity, message, quality: StatusCodes.Good, retain: true });
        },
        acknowledge({ alarm }) {
            alarms[alarm].acknowledgeAndAutoConfirmBranch(alarms[alarm].currentBranch(), "seen");
        },
        end({ alarm, retain = false, severity = 100 }) {
            alarms[alarm].deactivateAlarm(retain);
            alarms[alarm].raiseNewCondition({ severity, message: "over", quality: StatusCodes.Good, retain });
        },
        alarms() {
            return Object.fromEntries(Object.entries(alarms).map(([name, alarm]) => {
                const branch = alarm.currentBranch();
                return [name, {
                    active: branch.getActiveState(), acked: branch.getAckedState(), retain: branch.getRetain(),
                }];
            }));
        },
        tell({ type, severity = 300, message = "", tool, reasons = [] }) {
            const from = type === "EventQueueOverflowEventType" ? server : machine;
            from.raiseEvent(type === "ToolEventType" ? toolType : type, {
                severity: { dataType: DataType.UInt16, value: severity },
                message: { dataType: DataType.LocalizedText, value: { text: message } },
                ...(tool === undefined ? {} : {
                    toolNumber: { dataType: DataType.UInt16, value: tool },
                    reasons: { dataType: DataType.String, arrayType: VariantArrayType.Array, value: reasons },
                }),
            });
        },
    };
};
