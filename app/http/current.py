"""The service that the running application serves."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.http.ports import Service


def the_service(connection: HTTPConnection) -> Service:
    """The service that ``create_app`` was given."""
    service: Service = connection.app.state.service
    return service


Current = Annotated[Service, Depends(the_service)]
