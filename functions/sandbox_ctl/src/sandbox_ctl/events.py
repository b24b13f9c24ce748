"""ECS Task State Change events, as EventBridge delivers them: at least once, in any order."""

from pydantic import BaseModel, ConfigDict, Field


class TaskDetail(BaseModel):
    """What is read of the event; the rest is asked of ECS."""

    model_config = ConfigDict(extra="ignore")

    task_arn: str = Field(alias="taskArn")
    started_by: str = Field(alias="startedBy", default="")


class TaskChanged(BaseModel):
    """One event."""

    model_config = ConfigDict(extra="ignore")

    detail: TaskDetail
