"""The test kit for those who write workflows."""
