"""What the server says of itself. ``artifacts_presigned_only`` makes clients exchange files with the bucket alone."""

SERVER_INFO = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": True,
    "multipart_downloads_enabled": True,
    "artifact_serving_enabled": True,
    "features_enabled": {"gateway": False, "scheduled_issue_detection": False},
    "tracking_auth": "",
    "artifacts_presigned_only": True,
}
