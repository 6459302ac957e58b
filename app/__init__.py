"""The service: intake, engine, alarms, stores, live fan-out, HTTP and the command line."""
