"""Names of signals and of their codes: signal(7), include/uapi/asm-generic/siginfo.h. Pure."""

from __future__ import annotations

# x86 and arm64. Only some of these dump core by default, but any can with SECCOMP_RET_KILL.
_SIGNALS = """
HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT
STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS
"""
_NAMES = dict(enumerate(_SIGNALS.split(), start=1))

# si_code of a fault, by signal, from 1 on, without those of ia64 and sparc64.
_FAULTS = {
    "ILL": "ILLOPC ILLOPN ILLADR ILLTRP PRVOPC PRVREG COPROC BADSTK BADIADDR",
    "FPE": "INTDIV INTOVF FLTDIV FLTOVF FLTUND FLTRES FLTINV FLTSUB - - - - - FLTUNK CONDTRAP",
    "SEGV": "MAPERR ACCERR BNDERR PKUERR ACCADI ADIDERR ADIPERR MTEAERR MTESERR CPERR",
    "BUS": "ADRALN ADRERR OBJERR MCEERR_AR MCEERR_AO",
    "TRAP": "BRKPT TRACE BRANCH HWBKPT UNK PERF",
    "SYS": "SECCOMP USER_DISPATCH",
}
# si_code of any signal.
_ORIGINS = {
    0: "SI_USER",
    0x80: "SI_KERNEL",
    -1: "SI_QUEUE",
    -2: "SI_TIMER",
    -3: "SI_MESGQ",
    -4: "SI_ASYNCIO",
    -5: "SI_SIGIO",
    -6: "SI_TKILL",
    -7: "SI_DETHREAD",
    -60: "SI_ASYNCNL",
}


def name(number: int) -> str | None:
    """The name of a signal, "SIGSEGV" for 11; None for a number without a name."""
    return f"SIG{_NAMES[number]}" if number in _NAMES else None


def code_name(number: int, code: int) -> str | None:
    """The name of a signal's si_code, "SEGV_MAPERR" for 11 and 1; None for one without a name."""
    if code in _ORIGINS:
        return _ORIGINS[code]
    signal = _NAMES.get(number, "")
    names = _FAULTS.get(signal, "").split()
    if not 1 <= code <= len(names) or names[code - 1] == "-":
        return None
    return f"{signal}_{names[code - 1]}"
