"""wirtd: reads settings, builds adapters, hands them to operations, serves the API. The only wiring."""
