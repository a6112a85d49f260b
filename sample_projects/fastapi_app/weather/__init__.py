"""A weather service: forecasts, stations and a websocket that reports the wind."""
