"""What ``wirt relay`` says first, so that who called it through ssh knows that it has come through."""

GREETING = b"wirt-relay 1\n"
