"""Networks trained to fit and to test the accuracy model: protocols, tasks, and the queue that trains them."""
