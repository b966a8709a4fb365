"""``bazaar doctor``: what is wrong here, and what to do about it."""

from collections.abc import Iterator

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.checks import Finding, check_all
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile


def doctor(*, passphrase_file: PassphraseFile = None, common: Common = NO_OPTIONS) -> int:
    """Check this machine, the node's folder, its key, and the way to its relays.

    The exit status is 0 if nothing failed, and 75 if something has to be mended first.
    """
    findings = list(_told(check_all(common.folder, passphrase_file), is_json=common.json))
    if common.json:
        output.emit({"checks": findings})
    if any(finding.level == "fail" for finding in findings):
        output.suggest("bazaar doctor  (once that is mended)")
        return outcomes.TRY_AGAIN
    is_running = any(finding.what == "node" and finding.level == "ok" for finding in findings)
    output.suggest("bazaar status" if is_running else "bazaar up")
    return outcomes.OK


def _told(findings: Iterator[Finding], *, is_json: bool) -> Iterator[Finding]:
    # One by one, since a relay that is away takes its time.
    for finding in findings:
        if not is_json:
            output.show(f"{finding.level:<4}  {finding.what:<8}  {finding.found}")
            if finding.advice:
                output.show(f"                {finding.advice}")
        yield finding
