"""custody for the Vertex AI SDK (google-cloud-aiplatform), over gRPC and REST."""
