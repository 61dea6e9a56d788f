"""``LocalServer``: S3 and HealthImaging on one port, keep-alive, middleware, and the log of calls."""

from __future__ import annotations

import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from airflow_provider_healthimaging.local import Call, LocalServer, airflow_connection

from .conftest import HANG_SECONDS


def test_s3_is_served_on_the_same_port(connect, client, put, datastore_id):
    s3 = connect("s3")
    image_set_id = put()
    s3.create_bucket(Bucket="datastore")  # The name is also a path of HealthImaging.
    s3.put_object(Bucket="datastore", Key="a/b c.txt", Body=b"content", Metadata={"some-key": "x"})
    assert s3.get_object(Bucket="datastore", Key="a/b c.txt")["Body"].read() == b"content"
    assert s3.head_object(Bucket="datastore", Key="a/b c.txt")["ContentLength"] == 7
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["datastore"]
    found = client.search_image_sets(datastoreId=datastore_id)
    assert [hit["imageSetId"] for hit in found["imageSetsMetadataSummaries"]] == [image_set_id]
    s3.delete_object(Bucket="datastore", Key="a/b c.txt")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="datastore", Key="a/b c.txt")


def test_the_s3_hook_of_airflow_works_with_the_connection_of_this_server(server, local, monkeypatch):
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url))
    hook = S3Hook()
    hook.create_bucket("reports")
    hook.load_string("content", key="a/b.txt", bucket_name="reports")
    assert hook.read_key("a/b.txt", "reports") == "content"
    assert hook.list_keys("reports", prefix="a/") == ["a/b.txt"]


def test_a_large_upload_arrives_completely(connect, client):
    s3 = connect("s3")
    s3.create_bucket(Bucket="large")
    body = bytes(range(256)) * 40_000
    s3.put_object(Bucket="large", Key="key", Body=body)
    assert s3.get_object(Bucket="large", Key="key")["Body"].read() == body


def test_a_connection_is_used_again(server, client, datastore_id):
    at = urlsplit(server.url)
    connection = HTTPConnection(at.hostname, at.port)
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260301/us-east-1/medical-imaging/aws4_request"}
    connection.connect()
    ours = connection.sock
    for _ in range(3):
        connection.request("POST", f"/datastore/{datastore_id}/searchImageSets", b"{}", headers)
        reply = connection.getresponse()
        assert json.load(reply)["imageSetsMetadataSummaries"] == []
        assert connection.sock is ours
    connection.close()


def test_calls_are_logged_by_operation_and_status(server, client, connect, datastore_id):
    client.search_image_sets(datastoreId=datastore_id)
    client.list_datastores()
    s3 = connect("s3")
    s3.create_bucket(Bucket="datastore")
    s3.list_objects_v2(Bucket="datastore")  # GET /datastore, which is also the request of ListDatastores
    with pytest.raises(ClientError):
        client.search_image_sets(datastoreId="e" * 32)
    with pytest.raises(ClientError):
        client.get_image_set(datastoreId=datastore_id, imageSetId="e" * 32)
    assert list(server.calls) == [
        Call("SearchImageSets", 200),
        Call("ListDatastores", 200),
        Call("SearchImageSets", 404),
        Call("GetImageSet", 404),
    ]
    assert len(server.calls) == server.calls.count() == 4
    assert server.calls.count("SearchImageSets") == 2
    assert server.calls.count("SearchImageSets", status=200) == 1
    assert server.calls.count(status=404) == 2
    server.calls.reset()
    assert list(server.calls) == []


def test_parallel_clients_lose_nothing_while_image_sets_are_updated(server, client, local, put, datastore_id):
    expected = {put() for _ in range(120)}

    def read(_):
        pages = client.get_paginator("search_image_sets").paginate(
            datastoreId=datastore_id,
            searchCriteria={"sort": {"sortField": "createdAt", "sortOrder": "ASC"}},
            PaginationConfig={"PageSize": 7},
        )
        return [hit["imageSetId"] for page in pages for hit in page["imageSetsMetadataSummaries"]]

    done = threading.Event()

    def write():
        for image_set_id in list(expected) * 20:
            if done.is_set():
                break
            local.update_image_set(datastore_id, image_set_id)

    writer = threading.Thread(target=write)
    writer.start()
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(read, range(12)))
    done.set()
    writer.join()
    for found in results:
        assert len(found) == len(expected)
        assert set(found) == expected


def truncate(app):
    """Send half of every body, with the ``Content-Length`` of the whole body, as a broken connection would."""

    def half(environ, start_response):
        body = b"".join(app(environ, start_response))
        return [body[: len(body) // 2]]

    return half


def throttle(app):
    def throttled(environ, start_response):
        start_response("429 Too Many Requests", [("x-amzn-ErrorType", "ThrottlingException")])
        return [b"{}"]

    return throttled


def disconnect(app):
    def disconnected(environ, start_response):
        raise ConnectionResetError

    return disconnected


def fail(app):
    def broken(environ, start_response):
        raise RuntimeError("a broken middleware")

    return broken


def test_middleware_can_truncate_a_body(local, put, datastore_id):
    put()
    with LocalServer(middleware=truncate) as faulty:
        at = urlsplit(faulty.url)
        connection = HTTPConnection(at.hostname, at.port, timeout=HANG_SECONDS)
        headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260301/us-east-1/medical-imaging/aws4_request"}
        connection.request("POST", f"/datastore/{datastore_id}/searchImageSets", b"{}", headers)
        reply = connection.getresponse()
        promised = int(reply.headers["Content-Length"])
        sent = connection.sock.makefile("rb").read() if reply.fp is None else reply.fp.read()
        assert 0 < len(sent) == promised // 2
        connection.close()
        assert list(faulty.calls) == [Call("SearchImageSets", 200)]


def test_middleware_can_answer_instead_of_the_service(local, connect, datastore_id):
    with LocalServer(middleware=throttle) as faulty:
        client = connect(url=faulty.url)
        with pytest.raises(client.exceptions.ThrottlingException):
            client.search_image_sets(datastoreId=datastore_id)
        assert list(faulty.calls) == [Call("SearchImageSets", 429)]


def test_middleware_can_close_the_connection(local, connect, datastore_id):
    with LocalServer(middleware=disconnect) as faulty:
        with pytest.raises(ConnectionClosedError):
            connect(url=faulty.url).search_image_sets(datastoreId=datastore_id)
        assert list(faulty.calls) == [Call("SearchImageSets", None)]


def test_an_exception_in_the_application_is_a_500_and_the_server_continues(local, connect, datastore_id, capfd):
    with LocalServer(middleware=fail) as faulty:
        client = connect(url=faulty.url)
        for _ in range(2):
            with pytest.raises(ClientError) as caught:
                client.search_image_sets(datastoreId=datastore_id)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_the_server_writes_no_output_and_no_log_lines(server, client, put, datastore_id, capfd, caplog):
    put()
    client.search_image_sets(datastoreId=datastore_id)
    with pytest.raises(ClientError):
        client.search_image_sets(datastoreId="x")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"this is not HTTP\r\n\r\n")
        assert b"400" in connection.makefile("rb").read()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_stopped_server_does_not_answer_even_on_an_open_connection(local, connect, datastore_id):
    running = LocalServer().start()
    client = connect(url=running.url)
    client.search_image_sets(datastoreId=datastore_id)
    running.stop()
    with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        client.search_image_sets(datastoreId=datastore_id)
    running.stop()
    with pytest.raises(RuntimeError):
        _ = running.url


def test_start_raises_if_the_port_is_in_use(server):
    with pytest.raises(OSError, match="in use"):
        LocalServer(port=server.port).start()


def test_a_server_can_be_started_again_but_not_while_it_runs():
    again = LocalServer()
    with again, pytest.raises(RuntimeError):
        again.start()
    with again:
        assert again.port > 0


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_has_brackets_in_the_url():
    try:
        running = LocalServer("::1").start()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert running.url == f"http://[::1]:{running.port}"
    running.stop()


@pytest.mark.parametrize("megabytes", [0, 16])
def test_nothing_is_written_if_a_client_disconnects_before_the_response(capfd, megabytes):
    asked, gone = threading.Event(), threading.Event()

    def middleware(app):
        def answer(environ, start_response):
            if environ["PATH_INFO"] != "/slow":
                return app(environ, start_response)
            asked.set()
            gone.wait(10)
            start_response("200 OK", [])
            return [b"x" * megabytes * 2**20]

        return answer

    with LocalServer(middleware=middleware) as server:
        at = urlsplit(server.url)
        client = socket.create_connection((at.hostname, at.port))
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        gone.set()
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_handling_of_a_connection_is_shown_and_the_server_continues(capfd):
    with LocalServer() as server:
        at = urlsplit(server.url)
        with socket.create_connection((at.hostname, at.port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n")
            assert client.recv(1) == b""
        connection = HTTPConnection(at.hostname, at.port)
        connection.request("GET", "/moto-api/")
        assert connection.getresponse().status == 200
        connection.close()
    assert "ValueError" in capfd.readouterr().err
