"""Stands in for API Gateway's WebSocket APIs, with the limits and the liberties that AWS takes."""
