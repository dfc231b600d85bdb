"""The host an agent runs on: CPU, memory, disks, sensors."""
