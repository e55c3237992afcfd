"""custody for Amazon Bedrock."""
