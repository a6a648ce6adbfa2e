"""Every metric of the agent, in one place and one registry. Base units; no series per point."""

from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one agent. Labels name devices, publishers, protocols and kinds of things, never points."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._labelled: dict[str, list[MetricWrapperBase]] = {}
        self._of_agent()
        self._of_devices()
        self._of_outbox()
        self._of_publishers()

    def forget(self, label: str, name: str) -> None:
        """Remove the series of what is configured no longer.

        Args:
            label: ``device`` or ``publisher``.
            name: its id.
        """
        for metric in self._labelled.get(label, ()):
            metric.remove_by_labels({label: name})

    def _of_agent(self) -> None:
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.info = gauge(
            "info", "Always 1; the labels say what runs.", ["version", "config_hash", "sqlite_version", "gateway"]
        )
        self.is_last_good = gauge(
            "config_is_last_good", "1 while the last good configuration runs because the file is broken.", []
        )
        self.reload_succeeded = gauge(
            "config_last_reload_successful", "0 after a reload that changed nothing.", []
        )
        self.reload_succeeded.set(1)
        self.reload_time = gauge(
            "config_last_reload_success_timestamp_seconds", "When the configuration that runs was taken up.", []
        )
        self.reloads = counter("reloads_total", "Reloads of the configuration, by what came of them.", ["result"])
        for result in ("applied", "unchanged", "refused"):
            self.reloads.labels(result)  # there from the start, at 0
        self.loop_lag = histogram("loop_lag_seconds", "How late the event loop woke a timer.", [])
        self.clock_steps = counter("clock_steps_total", "Steps of the machine's clock by more than a second.", [])
        self.clock_synced = gauge("clock_synced", "1 once the machine's clock was set from outside.", [])
        self.audit_entries = gauge("audit_entries", "Entries that the audit log ever had.", [])
        self.audit_failures = counter("audit_failures_total", "Times that the audit log could not be written.", [])
        self.identifiers_configured = gauge("identifiers_configured", "1 if identifier codes are configured.", [])

    def _of_devices(self) -> None:
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        device, protocol = ["device"], ["protocol"]
        self.device_up = gauge("device_up", "1 while a session with the device is established.", device)
        self.readings = counter("readings_total", "Readings that devices gave, Good or not.", device)
        self.readings_bad = counter("readings_bad_total", "Readings with a Bad status.", device)
        self.readings_suppressed = counter("readings_suppressed_total", "Readings dropped by a deadband.", device)
        self.exchanges = counter("exchanges_total", "Exchanges that were answered.", device)
        self.exchange_failures = counter("exchange_failures_total", "Exchanges that gave nothing.", device)
        self.refused_points = gauge(
            "refused_points", "Points that the device refuses, tried again from time to time.", device
        )
        self.overruns = counter("overruns_total", "Polls skipped because the one before was not done.", device)
        self.connects = counter("connects_total", "Sessions established.", device)
        self.losses = counter("device_losses_total", "Sessions lost.", device)
        self.device_gaps = counter("device_gaps_total", "Times that a device lost readings, or may have.", device)
        self.device_lost = counter(
            "device_lost_readings_total",
            "Readings that a device lost before the agent had them, at least.",
            device,
        )
        self.backfilled = counter(
            "backfilled_readings_total", "Readings fetched from a device's history after an outage.", device
        )
        self.driver_crashes = counter("driver_crashes_total", "Unexpected exceptions out of a driver.", device)
        self.last_reading = gauge("last_reading_timestamp_seconds", "Time of the last reading.", device)
        self.certificate_expires = gauge(
            "certificate_expires_timestamp_seconds",
            "End of the validity of a certificate: a device's own, server or user; without a device, the file's.",
            ["device", "certificate"],
        )
        self.exchange_seconds = histogram("exchange_seconds", "Duration of one answered exchange.", protocol)
        self.lateness_seconds = histogram("poll_lateness_seconds", "How late a poll began.", protocol)

    def _of_outbox(self) -> None:
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        publisher = ["publisher"]
        self.committed = counter("outbox_committed_readings_total", "Readings that are safe on disk.", [])
        self.committed_rows = counter("outbox_committed_rows_total", "Rows that are safe on disk.", [])
        self.commits = counter("outbox_commits_total", "Transactions.", [])
        self.commit_seconds = histogram("outbox_commit_seconds", "Duration of one commit, sync included.", [])
        self.buffered = gauge("outbox_buffered_readings", "Readings in memory, waiting for the next commit.", [])
        self.outbox_bytes = gauge("outbox_size_bytes", "Size of the database and its log on disk.", [])
        self.pending = gauge("outbox_pending_rows", "Rows that the publisher has not got through.", publisher)
        self.oldest_pending = gauge(
            "outbox_oldest_pending_timestamp_seconds",
            "When the oldest reading was taken that the publisher has still to get; 0 when it has all.",
            publisher,
        )
        self.owed_readings = gauge(
            "outbox_owed_readings", "Ever committed for the publisher: confirmed + dropped + pending.", publisher
        )
        self.confirmed_readings = gauge("outbox_confirmed_readings", "Of these, confirmed by it.", publisher)
        self.dropped_readings = gauge("outbox_dropped_readings", "Of these, those that it never gets.", publisher)
        self.pending_readings = gauge("outbox_pending_readings", "Of these, those still to be sent.", publisher)
        self.lost = counter("outbox_lost_readings_total", "Readings that somebody never gets.", ["reason"])
        self.outbox_used = gauge("outbox_used_bytes", "Size of the pages in use, which max_size bounds.", [])
        self.outbox_limit = gauge("outbox_limit_bytes", "The configured max_size.", [])
        self.written_bytes = counter("outbox_written_bytes_total", "Bytes written to the disk by the outbox.", [])
        self.write_budget_passed = gauge(
            "outbox_write_budget_passed", "1 while more than write_budget was written within the day.", []
        )
        self.new_epochs = counter(
            "outbox_new_epochs_total", "Times that the state directory came from another machine.", []
        )
        self.damaged_files = counter(
            "outbox_damaged_files_total", "Databases that were damaged and set aside for salvage.", []
        )
        self.salvage_progress = gauge(
            "outbox_salvage_progress", "How far the salvage of a damaged database is, 0 to 1; 1 = all done.", []
        )
        self.salvage_progress.set(1)
        self.salvaged_rows = counter("outbox_salvaged_rows_total", "Rows back from damaged databases.", [])
        self.unsalvaged_rows = counter(
            "outbox_unsalvaged_rows_total", "Rows of damaged databases that nobody can read any more.", []
        )
        self.damaged_rows = counter("outbox_damaged_rows_total", "Rows that could not be read back.", [])

    def _of_publishers(self) -> None:
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        publisher = ["publisher"]
        self.replay_pending = gauge(
            "replay_pending_readings", "Readings of the backlog that the broker has not taken.", publisher
        )
        self.replay_rate = gauge(
            "replay_rate", "Readings of the backlog that the broker takes a second.", publisher
        )
        self.replay_eta_seconds = gauge(
            "replay_eta_seconds", "Time until the backlog is through; +Inf while it stands still.", publisher
        )
        self.publisher_up = gauge("publisher_up", "1 while a session with the broker is established.", publisher)
        self.published_rows = counter("published_rows_total", "Rows handed to the broker.", publisher)
        self.published = counter("published_readings_total", "Readings handed to the broker.", publisher)
        self.published_bytes = counter("published_bytes_total", "Payload handed to the broker.", publisher)
        self.acknowledged = counter("acknowledged_readings_total", "Readings that the broker took.", publisher)
        self.refused = counter("refused_messages_total", "Messages that the broker refused.", publisher)
        self.dead_letters = counter(
            "dead_letter_rows_total", "Rows refused for what they are, set aside.", publisher
        )
        self.sessions = counter("publisher_sessions_total", "Sessions established.", publisher)
        self.session_losses = counter("publisher_session_losses_total", "Sessions lost or refused.", publisher)
        self.insecure = gauge("publisher_insecure", "1 if certificate verification is off.", publisher)
        self.acknowledge_seconds = histogram("acknowledge_seconds", "From publishing to PUBACK.", publisher)
        self.delivery_seconds = histogram(
            "delivery_seconds", "From acquisition to PUBACK, live readings only.", publisher
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        metric = Counter(f"edge_agent_{name}", text, labels, registry=self.registry)
        return self._indexed(metric, labels)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        metric = Gauge(f"edge_agent_{name}", text, labels, registry=self.registry)
        return self._indexed(metric, labels)

    def _histogram(self, name: str, text: str, labels: list[str]) -> Histogram:
        metric = Histogram(f"edge_agent_{name}", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS_S)
        return self._indexed(metric, labels)

    def _indexed(self, metric: M, labels: list[str]) -> M:
        for label in labels:
            self._labelled.setdefault(label, []).append(metric)
        return metric
