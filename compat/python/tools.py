"""Kafka's own command line tools, of the version asked for, each in a JVM of its own."""

import subprocess

from servers import WORK, java

VERSIONS = ("3.9.1", "4.1.0")
MAIN_CLASSES = {
    "console-producer": ("kafka.tools.ConsoleProducer", "org.apache.kafka.tools.ConsoleProducer"),
    "console-consumer": ("org.apache.kafka.tools.consumer.ConsoleConsumer",) * 2,
    "topics": ("org.apache.kafka.tools.TopicCommand",) * 2,
    "configs": ("kafka.admin.ConfigCommand",) * 2,
    "producer-perf-test": ("org.apache.kafka.tools.ProducerPerformance",) * 2,
    "get-offsets": ("org.apache.kafka.tools.GetOffsetShell",) * 2,
    "delete-records": ("org.apache.kafka.tools.DeleteRecordsCommand",) * 2,
    "log-dirs": ("org.apache.kafka.tools.LogDirsCommand",) * 2,
    "cluster": ("org.apache.kafka.tools.ClusterTool",) * 2,
    "broker-api-versions": ("kafka.admin.BrokerApiVersionsCommand", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    "reassign-partitions": ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand",) * 2,
    "leader-election": ("org.apache.kafka.tools.LeaderElectionCommand",) * 2,
    "consumer-groups": ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",) * 2,
    "acls": ("kafka.admin.AclCommand", "org.apache.kafka.tools.AclCommand"),
    "delegation-tokens": ("org.apache.kafka.tools.DelegationTokenCommand",) * 2,
    "jmx": ("org.apache.kafka.tools.JmxTool",) * 2,
    "storage": ("kafka.tools.StorageTool",) * 2,
    "dump-log": ("kafka.tools.DumpLogSegments",) * 2,
}


def run(version, tool, *arguments, stdin=b"", fails=False, seconds=120):
    """What the tool prints; it must end with 0, or with another code if it `fails`."""
    log4j = WORK / "log4j-tools.properties"
    log4j.write_text(
        "log4j.rootLogger=WARN, err\nlog4j.appender.err=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.err.target=System.err\nlog4j.appender.err.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.err.layout.ConversionPattern=%p %c{1} %m%n\n"
    )
    log4j2 = WORK / "log4j2-tools.properties"
    log4j2.write_text(
        "rootLogger.level=WARN\nrootLogger.appenderRef.err.ref=err\nappender.err.type=Console\nappender.err.name=err\n"
        "appender.err.target=SYSTEM_ERR\nappender.err.layout.type=PatternLayout\nappender.err.layout.pattern=%p %c{1} %m%n\n"
    )
    main = MAIN_CLASSES[tool][VERSIONS.index(version)]
    command = java(256, f"kafka-{version}", f"-Dlog4j.configuration=file:{log4j}", f"-Dlog4j2.configurationFile={log4j2}", main, *map(str, arguments))
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=seconds, check=False)
    shown = f"{tool} {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout.decode()[-3000:]}\n{done.stderr.decode()[-3000:]}"
    assert (done.returncode != 0) == fails, shown
    return done.stdout.decode(errors="surrogateescape") if not fails else shown
