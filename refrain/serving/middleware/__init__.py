"""What each request passes on its way to a route, one module for each concern; stack.py has their order."""
