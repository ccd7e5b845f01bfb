"""From the body of a request to what a backend is asked, and from what it says to the choices of an answer."""
