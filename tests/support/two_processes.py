TWO = ("launch.processes=2",)


def finished(process):
    """The exit code, and all that was said."""
    said = process.communicate(timeout=120)[1]
    return process.returncode, said
