"""What a server says that none of ours would: raised where it is noticed, and the connection ends with it."""


class ViolationError(Exception):
    """The server said what no server of ours says."""
