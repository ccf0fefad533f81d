"""What became of advice: answers, verification, deploys, and what is learned from them."""
