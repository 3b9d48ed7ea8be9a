"""What the server says of itself, and to what MLflow's web interface asks besides."""

SERVER_INFO = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": True,
    "multipart_downloads_enabled": True,
    "artifact_serving_enabled": True,
    "presigned_upload_run_id_supported": True,
    "presigned_upload_model_id_supported": True,
    "model_artifact_presigned_downloads_supported": True,
    "features_enabled": {"gateway": False, "scheduled_issue_detection": False},
    "tracking_auth": "",
    "artifacts_presigned_only": True,
}
"""``artifacts_presigned_only`` makes clients exchange files with the bucket alone."""

NO_GATEWAY: dict[str, list[str]] = {"endpoints": []}
"""There is no AI gateway: none of its endpoints. The runs page shows an error for any other answer."""
NO_TELEMETRY = {"disable_ui_telemetry": True, "disable_ui_events": [], "ui_rollout_percentage": 0}
TELEMETRY_REFUSED = {"status": "disabled"}
"""What people do in the web interface is nobody else's business."""
