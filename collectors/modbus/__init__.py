"""Modbus TCP: PLCs and gauges whose values lie in registers."""
