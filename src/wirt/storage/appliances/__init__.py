"""Other people's archives of whole machines: read by a worker in a jail of its own, which is handed open files and
reaches nothing else; and written."""
