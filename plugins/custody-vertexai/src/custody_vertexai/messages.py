"""The messages of PredictionService, LlmUtilityService and ModelGardenService, as far as forensics read them.

Numbers and names are those of google/cloud/aiplatform v1 and v1beta1 (the same in both, where both have them);
a test compares them with the descriptors of the installed SDK. Of what is long or private only the presence is read.
"""

from __future__ import annotations

from custody_vertexai.protobuf import Field, Table

_MODE = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
_TASK = (
    "UNSPECIFIED RETRIEVAL_QUERY RETRIEVAL_DOCUMENT SEMANTIC_SIMILARITY CLASSIFICATION CLUSTERING QUESTION_ANSWERING "
    "FACT_VERIFICATION CODE_RETRIEVAL_QUERY"
)

PART = Table({
    1: Field("text", "string"),
    2: Field("inlineData", "present"),
    3: Field("fileData", "present"),
    5: Field("functionCall", "present"),
    6: Field("functionResponse", "present"),
    8: Field("executableCode", "present"),
    9: Field("codeExecutionResult", "present"),
    10: Field("thought", "bool"),
})  # fmt: skip
CONTENT = Table({1: Field("role", "string"), 2: Field("parts", PART, many=True)})
CANDIDATE = Table({
    1: Field("index", "int"),
    2: Field("content", CONTENT),
    3: Field("finishReason", "int"),
})  # fmt: skip
MODALITY = Table({1: Field("modality", "int"), 2: Field("tokenCount", "int")})
USAGE = Table({
    1: Field("promptTokenCount", "int"),
    2: Field("candidatesTokenCount", "int"),
    3: Field("totalTokenCount", "int"),
    5: Field("cachedContentTokenCount", "int"),
    8: Field("trafficType", "int"),
    9: Field("promptTokensDetails", MODALITY, many=True),
    10: Field("cacheTokensDetails", MODALITY, many=True),
    11: Field("candidatesTokensDetails", MODALITY, many=True),
    12: Field("toolUsePromptTokensDetails", MODALITY, many=True),
    14: Field("thoughtsTokenCount", "int"),
})  # fmt: skip
USAGE_OF_EMBEDDING = Table(USAGE | {13: Field("toolUsePromptTokenCount", "int")})
GENERATED = Table({
    2: Field("candidates", CANDIDATE, many=True),
    3: Field("promptFeedback", Table({1: Field("blockReason", "int")})),
    4: Field("usageMetadata", USAGE),
    11: Field("modelVersion", "string"),
    13: Field("responseId", "string"),
})  # fmt: skip
PREDICTED = Table({
    1: Field("predictions", "value", many=True),
    2: Field("deployedModelId", "string"),
    3: Field("model", "string"),
    5: Field("modelVersionId", "string"),
    6: Field("metadata", "value"),
})  # fmt: skip
COUNTED = Table({1: Field("totalTokens", "int"), 2: Field("totalBillableCharacters", "int")})
EMBEDDED = Table({2: Field("usageMetadata", USAGE_OF_EMBEDDING), 4: Field("truncated", "bool")})
HTTP_BODY = Table({1: Field("contentType", "string"), 2: Field("data", "data")})
NOTHING = Table()

CONFIG = Table({
    1: Field("temperature", "float"),
    2: Field("topP", "float"),
    3: Field("topK", "float"),
    4: Field("candidateCount", "int"),
    5: Field("maxOutputTokens", "int"),
    7: Field("logprobs", "int"),
    8: Field("presencePenalty", "float"),
    9: Field("frequencyPenalty", "float"),
    12: Field("seed", "int"),
    13: Field("responseMimeType", "string"),
    18: Field("responseLogprobs", "bool"),
    20: Field("audioTimestamp", "bool"),
    22: Field("mediaResolution", "int"),
    25: Field("thinkingConfig", Table({
        1: Field("includeThoughts", "bool"),
        3: Field("thinkingBudget", "int"),
        4: Field("thinkingLevel", "int"),
    })),
})  # fmt: skip
TO_GENERATE = Table({
    2: Field("contents", "present", many=True),
    3: Field("safetySettings", "present", many=True),
    4: Field("generationConfig", CONFIG),
    5: Field("model", "string"),
    6: Field("tools", "present", many=True),
    7: Field("toolConfig", Table({1: Field("functionCallingConfig", Table({1: Field("mode", _MODE)}))})),
    8: Field("systemInstruction", CONTENT),
})  # fmt: skip
TO_COUNT = Table({
    1: Field("endpoint", "string"),
    3: Field("model", "string"),
    4: Field("contents", "present", many=True),
    5: Field("systemInstruction", CONTENT),
    6: Field("tools", "present", many=True),
    7: Field("generationConfig", CONFIG),
})  # fmt: skip
TO_PREDICT = Table({1: Field("endpoint", "string"), 3: Field("parameters", "value")})
TO_EMBED = Table({
    1: Field("model", "string"),
    5: Field("taskType", tuple(_TASK.split())),
    6: Field("outputDimensionality", "int"),
})  # fmt: skip
TO_ENDPOINT = Table({1: Field("endpoint", "string")})

TO_LOOK_UP = Table({1: Field("name", "string")})

MESSAGES: dict[str, tuple[str, Table, Table]] = {
    "GenerateContent": ("generate_content", TO_GENERATE, GENERATED),
    "StreamGenerateContent": ("generate_content", TO_GENERATE, GENERATED),
    "EmbedContent": ("embeddings", TO_EMBED, EMBEDDED),
    "CountTokens": ("count_tokens", TO_COUNT, COUNTED),
    "ComputeTokens": ("count_tokens", TO_ENDPOINT, NOTHING),
    "Predict": ("predict", TO_PREDICT, PREDICTED),
    "ServerStreamingPredict": ("predict", TO_ENDPOINT, NOTHING),
    "DirectPredict": ("predict", TO_ENDPOINT, NOTHING),
    "DirectRawPredict": ("other", TO_ENDPOINT, NOTHING),
    "Explain": ("other", TO_ENDPOINT, Table({2: Field("deployedModelId", "string")})),
    "RawPredict": ("other", TO_ENDPOINT, HTTP_BODY),
    "StreamRawPredict": ("other", TO_ENDPOINT, HTTP_BODY),
    "GetPublisherModel": ("models", TO_LOOK_UP, Table({1: Field("name", "string"), 2: Field("versionId", "string")})),
    "ChatCompletions": ("chat", TO_ENDPOINT, HTTP_BODY),
}
"""By method: the operation, and what its request and its response hold."""
