"""What agents push: received, journalled, counted; and what is asked of them in return."""
