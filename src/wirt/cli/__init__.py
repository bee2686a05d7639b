"""``wirt``, the command: xl's verbs and its own, each in a module that is imported only when it is asked for."""
