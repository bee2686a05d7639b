"""What can go wrong with a lab, as a sentence and what to do."""


class LabError(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
