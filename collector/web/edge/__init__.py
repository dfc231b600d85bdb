"""Between the network and the pages: connection limits, security headers, authentication."""
