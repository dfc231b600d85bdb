"""What the label of a contact says it is: the patterns that a profile names with `$`, such as `matches: $leak`.

A dry contact has no type. The person who wired it gave it a label, in English or Chinese, and only the label tells that
the contact is a leak detector. A label gets exactly one kind; one that is not plain is `$other`, which is judged as an
ordinary contact.
"""

import re
from collections.abc import Mapping

_NOT_THE_SENSOR = (
    r"fault|trouble|fail|bypass|disabled|silence|mute|isolat|spare|unused|故障|旁路|屏蔽|消音|失效|备用|未用"
)
"""Words of contacts that say something about the detector, not about what it detects."""

_WORDS: Mapping[str, str] = {
    "smoke": (
        r"smoke|vesda|\bfire\b(?!.*(?:door|wall|exit|exting|suppress|pump|damper|valve))"
        r"|烟感|烟雾|烟温|感烟|火警|火灾|起火|消防(?:报警|告警)"
    ),
    "leak": (
        r"(?<!gas )(?<!refrigerant )(?<!air )(?<!oil )(?<!hydrogen )\bleak(?!age)|\bflood|\bwet\b|moisture"
        r"|(?<!chilled )(?<!cold )(?<!hot )(?<!cooling )\bwater\b"
        r"(?!.*(?:temp|flow|press|pump|valve|level|heat|chill|cool|tank|meter|inlet|outlet|supply|return))"
        r"|漏水|漏液|水浸|浸水|溢水|积水|渗水|水淹|跑水"
    ),
    "door": (
        r"\bdoors?\b(?!.*lock)|\bgate\b|门磁|门禁(?!.*锁)|(?<![阀闸部专])门(?:状态|开关)|(?:前|后|侧|柜|房|室|库|大|主|防火|玻璃)门(?!锁)"
        r"|(?<![阀闸部专澳厦江荆龙])门[\d#号]*$"
    ),
    "motion": r"\bmotion\b|\bpir\b|\bintruder\b|人体|红外(?!测温|温)|(?:移动|运动)(?:侦测|探测|感应|报警)",
}


def _kinds() -> Mapping[str, str]:
    """The pattern of each kind, without the labels of the kinds before it, and `other` for the rest."""
    patterns, taken = {}, [_NOT_THE_SENSOR]
    for kind, words in _WORDS.items():
        patterns[kind] = f"(?i)^(?!.*(?:{'|'.join(taken)})).*(?:{words})"
        taken.append(words)
    any_kind = "|".join(_WORDS.values())
    return patterns | {"other": f"(?i)^(?:(?=.*(?:{_NOT_THE_SENSOR}))|(?!.*(?:{any_kind})))"}


KINDS: Mapping[str, re.Pattern[str]] = {kind: re.compile(pattern) for kind, pattern in _kinds().items()}
"""The compiled patterns by name: `smoke`, `leak`, `door`, `motion`, and `other`, which no other one matches."""
