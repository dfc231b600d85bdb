"""The Modbus TCP probe."""
