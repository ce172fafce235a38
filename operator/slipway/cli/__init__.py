"""`slipway` and `kubectl slipway`: what a person asks, answered on one screen. Reads the cluster through kubectl."""
