"""What ties the process to the system it runs on."""
