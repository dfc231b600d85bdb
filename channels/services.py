"""How services answer whose HTTP status alone does not say whether they accepted a message, by the name of Apprise's module.

Sources: the services' own documents of their interfaces, named in each line. A service that is not here is judged by its status
and by the usual signs of a refusal (`channels/answers.py`).
"""

from collections.abc import Mapping

from watchkeeper.channels.answers import Grammar

_MINUTE_S = 60.0

# open.dingtalk.com, custom robot: 20 messages a minute; who sends more is refused for 10 minutes
_DINGTALK = Grammar(
    fields=("errcode",), accepts=(0,),
    busy={130101: 10 * _MINUTE_S, 410100: 10 * _MINUTE_S},
    # token or robot gone, group dissolved; keyword, signature or source address do not fit; the text is refused
    gone=frozenset({300001, 310000, 400013, 400101, 400102, 400105, 400106, 430101, 430102, 430103, 430104, 460101}),
)  # fmt: skip
# developer.work.weixin.qq.com, group robot: 20 messages a minute
_WECOM = Grammar(
    fields=("errcode",), accepts=(0,),
    busy={45009: _MINUTE_S, 45033: 10.0},
    gone=frozenset({93000, 93004, 93008, 40001, 40008, 40013, 40014, 40058, 41001, 44004, 45002, 60020, 81013, 301002}),
)  # fmt: skip
# open.feishu.cn and open.larksuite.com, custom bot: 100 messages a minute and 5 a second. An older form has StatusCode only
_FEISHU = Grammar(
    fields=("code", "StatusCode"), accepts=(0,),
    busy={11232: _MINUTE_S, 99991400: _MINUTE_S},
    gone=frozenset({19001, 19002, 19021, 19022, 19024, 9499}),
)  # fmt: skip
# api.slack.com: a webhook answers `ok`, the Web API {"ok": true}
_SLACK = Grammar(
    fields=("ok",), accepts=(True,), texts=("ok",),
    busy={"ratelimited": _MINUTE_S, "rate_limited": _MINUTE_S, "message_limit_exceeded": _MINUTE_S},
    gone=frozenset({
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope", "no_service",
        "no_team", "team_disabled", "channel_not_found", "not_in_channel", "is_archived", "channel_is_archived",
        "user_not_found", "posting_to_general_channel_denied", "action_prohibited", "invalid_token",
    }),
)  # fmt: skip

KNOWN: Mapping[str, Grammar] = {
    "dingtalk": _DINGTALK,
    "wecombot": _WECOM,
    "wechat": _WECOM,
    "feishu": _FEISHU,
    "lark": _FEISHU,
    "slack": _SLACK,
    # core.telegram.org/bots/api: {"ok": true}; an error has error_code, description and parameters.retry_after
    "telegram": Grammar(("ok",), (True,)),
    # sct.ftqq.com: code 0; an older form has errno in data
    "serverchan": Grammar(("code", "errno"), (0,), gone=frozenset({40001})),
    # pushplus.plus: code 200; 900 and 903 the account or token may not send; 905 not verified
    "pushplus": Grammar(("code",), (200,), gone=frozenset({888, 900, 903, 905})),
    "spugpush": Grammar(("code",), (200,)),
    "wpush": Grammar(("code",), (0,)),
    # wxpusher.zjiecode.com: code 1000; data names each receiver
    "wxpusher": Grammar(("data.*.code", "code"), (1000,)),
    # pushdeer.com: code 0; an error has code and error
    "pushdeer": Grammar(("code",), (0,)),
    # qmsg.zendee.cn
    "qq": Grammar(("success", "code"), (True, 0)),
    "pushme": Grammar(texts=("success",)),
    # bark-server: {"code": 200, "message": "success"}
    "bark": Grammar(("code",), (200,)),
    # developer.kookapp.cn: code 0
    "kook": Grammar(("code",), (0,)),
    # onebot.dev: retcode 0; 1 means that it is under way
    "onebot": Grammar(("retcode",), (0, 1)),
    # Synology Chat: {"success": true}; 411 means that messages come too fast
    "synology": Grammar(("success",), (True,), busy={411: 10.0}),
    # pushover.net/api, pushsafer.com: status 1
    "pushover": Grammar(("status",), (1,)),
    "pushsafer": Grammar(("status",), (1,)),
    # developers.viber.com: status 0; 2 the token is invalid, 5 and 6 the receiver is unknown, 12 too many requests
    "viber": Grammar(("status",), (0,), busy={12: _MINUTE_S}, gone=frozenset({2, 5, 6, 7, 8})),
    # SMS: each message has a state of its own inside HTTP 200
    "vonage": Grammar(("messages.*.status",), ("0",), busy={"1": 1.0}, gone=frozenset({"4", "6", "7", "9"})),
    "clicksend": Grammar(("data.messages.*.status", "response_code"), ("SUCCESS",)),
    "infobip": Grammar(("messages.*.status.groupName",), ("PENDING", "DELIVERED", "ACCEPTED")),
    "africas_talking": Grammar(("SMSMessageData.Recipients.*.statusCode",), (100, 101, 102)),
    "seven": Grammar(("success",), ("100", 100, True), texts=("100",)),
    "bulksms": Grammar(("*.status.type",), ("ACCEPTED", "SCHEDULED", "SENT", "DELIVERED")),
    "kavenegar": Grammar(("return.status",), (200,)),
    "voipms": Grammar(("status",), ("success",)),
    "burstsms": Grammar(("error.code",), ("SUCCESS",)),
    "clickatell": Grammar(("messages.*.accepted",), (True,)),
    "msg91": Grammar(("type",), ("success",)),
}
