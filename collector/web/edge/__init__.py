"""Between the network and the pages: limits of a connection, security headers, who is asking."""
