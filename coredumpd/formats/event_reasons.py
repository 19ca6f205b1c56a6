"""The reasons of the Events that coredumpd writes, each once: alerts and people search for them."""

DUMPED = "CoreDumped"
TRUNCATED = "CoreDumpTruncated"
SKIPPED = "CoreDumpSkipped"
MISSING = "CoreDumpMissing"
QUOTA = "CoreDumpQuota"
POLICY = "CoreDumpPolicy"
STUCK = "CoreDumpsStuck"
WITHHELD = "CoreDumpsWithheld"
RESUMED = "CoreDumpsResumed"
PATTERN_DRIFT = "CorePatternDrift"
PATTERN_FIGHT = "CorePatternFight"
SELF_TEST_FAILED = "CoreDumpSelfTestFailed"
SELF_TEST_PASSED = "CoreDumpSelfTestPassed"

MEANINGS = {
    DUMPED: "on a pod: a crash of one of its containers is in the store",
    TRUNCATED: "on a pod: as CoreDumped, but the core ends early; the message says why",
    SKIPPED: "on a pod: crashes of a loop are only counted; on a Node: a crash was not captured",
    MISSING: "on a pod: a container ended by a signal, or by the OOM killer, and left no core; the"
    " message says why",
    QUOTA: "on a pod: its namespace is near its quota, or the quota allowed only the record",
    POLICY: "on a pod: an annotation of the pod or its namespace cannot be obeyed; on a Node: rules"
    " have no room",
    STUCK: "on a Node: dumps have not reached the store for longer than agent.stuckAfter",
    WITHHELD: "on a Node: dumps stay there, because nothing proves whose they are",
    RESUMED: "on a Node: dumps reach the store again",
    PATTERN_DRIFT: "on a Node: something else changed a core setting; it is ours again",
    PATTERN_FIGHT: "on a Node: something else keeps changing them; corrections pause",
    SELF_TEST_FAILED: "on a Node: the kernel does not reach the handler, or that stores nothing;"
    " the message names the cause",
    SELF_TEST_PASSED: "on a Node: after a failure, crashes are captured again",
}
