"""Dropout and the networks around it: functions, layers, masks and the MLP."""
