"""What the actions of hosting take: lengths, counts, patterns, as `launch.limits` has those of training jobs.

A test holds the tables against botocore's service model.
"""

from __future__ import annotations

from launch.limits import Limit

_MODEL_NAME = r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"
_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
_ROLE = r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
_S3 = r"(https|s3)://([^/]+)/?(.*)"
_S3_LOOSE = r"(https|s3)://([^/])/?(.*)"
_KMS = r"[a-zA-Z0-9:/_-]*"
_TEXT = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"

_TAGS = (
    Limit("Tags", 0, 50),
    Limit("Tags.[].Key", 1, 128, _TEXT, "mend launch.tags"),
    Limit("Tags.[].Value", 0, 256, _TEXT, "mend launch.tags"),
)

MODEL_LIMITS = (
    Limit("ModelName", 0, 63, _MODEL_NAME, "give another name=NAME"),
    Limit("PrimaryContainer.Image", 0, 255, r"[\S]+", "give image=ADDRESS"),
    Limit("PrimaryContainer.ModelDataUrl", 0, 1024, _S3, "shorten launch.prefix"),
    Limit("PrimaryContainer.Environment", 0, 100, remedy="leave some of launch.environment out"),
    Limit("PrimaryContainer.Environment.{key}", 0, 1024, r"[a-zA-Z_][a-zA-Z0-9_]*", "mend launch.environment"),
    Limit("PrimaryContainer.Environment.{}", 0, 1024, r"[\S\s]*", "shorten it in launch.environment"),
    Limit("ExecutionRoleArn", 20, 2048, _ROLE, "give launch.role=ARN"),
    Limit("VpcConfig.SecurityGroupIds", 1, 5),
    Limit("VpcConfig.Subnets", 1, 16),
    *_TAGS,
)

CONFIG_LIMITS = (
    Limit("EndpointConfigName", 0, 63, _NAME, "give another name=NAME"),
    Limit("ProductionVariants.[].ModelName", 0, 63, _MODEL_NAME),
    Limit("ProductionVariants.[].InitialInstanceCount", 1),
    Limit("ProductionVariants.[].ContainerStartupHealthCheckTimeoutInSeconds", 60, 3600),
    Limit("ProductionVariants.[].ServerlessConfig.MemorySizeInMB", 1024, 6144),
    Limit("ProductionVariants.[].ServerlessConfig.MaxConcurrency", 1, 200),
    Limit("ProductionVariants.[].ServerlessConfig.ProvisionedConcurrency", 1, 200),
    Limit("AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance", 1, 1000),
    Limit("AsyncInferenceConfig.OutputConfig.S3OutputPath", 0, 512, _S3_LOOSE, "shorten output"),
    Limit("AsyncInferenceConfig.OutputConfig.S3FailurePath", 0, 512, _S3_LOOSE, "shorten launch.prefix"),
    Limit("AsyncInferenceConfig.OutputConfig.KmsKeyId", 0, 2048, _KMS, "mend launch.kms_key"),
    Limit("DataCaptureConfig.InitialSamplingPercentage", 0, 100),
    Limit("DataCaptureConfig.DestinationS3Uri", 0, 512, _S3_LOOSE, "shorten capture.output"),
    Limit("DataCaptureConfig.KmsKeyId", 0, 2048, _KMS, "mend launch.kms_key"),
    *_TAGS,
)

ENDPOINT_LIMITS = (Limit("EndpointName", 0, 63, _NAME, "give another name=NAME"), *_TAGS)

TRANSFORM_LIMITS = (
    Limit("TransformJobName", 1, 63, _NAME, "give another name=NAME"),
    Limit("ModelName", 0, 63, _MODEL_NAME),
    Limit("MaxConcurrentTransforms", 0),
    Limit("MaxPayloadInMB", 0),
    Limit("TransformInput.DataSource.S3DataSource.S3Uri", 0, 1024, _S3, "shorten input"),
    Limit("TransformOutput.S3OutputPath", 0, 1024, _S3, "shorten output"),
    Limit("TransformOutput.KmsKeyId", 0, 2048, _KMS, "mend launch.kms_key"),
    Limit("TransformResources.InstanceCount", 1),
    *_TAGS,
)
