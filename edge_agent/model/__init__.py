"""The words of the agent as values: ids, points, quality, readings in columns. Pure."""

from edge_agent.model.batch import Column, ReadingBatch
from edge_agent.model.ids import DeviceId, GatewayId, PointName, PublisherId, check_id
from edge_agent.model.loss import LossReason, Lost
from edge_agent.model.point import DataType, Deadband, Point, PointTable, ReadingClass
from edge_agent.model.quality import Quality, is_bad, is_good

__all__ = [
    "Column",
    "DataType",
    "Deadband",
    "DeviceId",
    "GatewayId",
    "LossReason",
    "Lost",
    "Point",
    "PointName",
    "PointTable",
    "PublisherId",
    "Quality",
    "ReadingBatch",
    "ReadingClass",
    "check_id",
    "is_bad",
    "is_good",
]
