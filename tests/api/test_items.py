# SPDX-License-Identifier: Apache-2.0
"""Datasets and items: bytes in, bytes out, filters, paging."""
import hashlib
import io
import random

import pytest

import harness


@pytest.fixture
def photos(dl, project, unique):
    dataset = project.datasets.create(dataset_name=unique("photos"))
    yield dataset
    dataset.delete(True, True)


def put(api, dataset, path, content=b"x", **more):
    answer = harness.upload(api, dataset.id, path, content, **more)
    assert answer.ok, answer.text
    return answer.json()


# ── datasets ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_datasets(dl, project, unique):
    name = unique("set")
    dataset = project.datasets.create(dataset_name=name)
    assert project.datasets.get(dataset_name=name).id == dataset.id
    assert project.datasets.get(dataset_id=dataset.id).name == name
    assert dataset.id in [one.id for one in project.datasets.list()]
    dataset.name = name + "-2"
    dataset.update()
    assert project.datasets.get(dataset_id=dataset.id).name == name + "-2"
    dataset.delete(True, True)
    with pytest.raises(dl.exceptions.NotFound):
        project.datasets.get(dataset_id=dataset.id)


# ── up and down ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.core
def test_upload_file_and_download(photos, tmp_path):
    content = random.Random(harness.SEED).randbytes(100_003)
    local = tmp_path / "photo ü.bin"
    local.write_bytes(content)
    item = photos.items.upload(local_path=str(local), remote_path="/deep/er")
    assert item.filename == "/deep/er/photo ü.bin" and item.dir == "/deep/er" and item.name == "photo ü.bin"
    assert item.metadata["system"]["size"] == len(content)
    back = item.download(local_path=str(tmp_path / "back"))
    assert open(back, "rb").read() == content
    assert item.download(save_locally=False).read() == content


def test_upload_folder(photos, tmp_path):
    for number in range(25):
        path = tmp_path / "in" / f"d{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text {number}")
    photos.items.upload(local_path=str(tmp_path / "in") + "/*", remote_path="/up")
    files = {item.filename for page in photos.items.list() for item in page if item.type == "file"}
    assert files == {f"/up/d{n % 3}/{n}.txt" for n in range(25)}


def test_upload_bytes_and_empty(photos):
    item = photos.items.upload(local_path=io.BytesIO(b"from memory"), remote_name="memory.txt")
    assert item.download(save_locally=False).read() == b"from memory"
    assert item.metadata["system"]["size"] == 11


def test_empty_file(api, photos):
    item = put(api, photos, "/empty.bin", b"")
    assert item["metadata"]["system"]["size"] == 0
    answer = api.call("GET", f"/items/{item['id']}/stream")
    assert answer.status_code == 200 and answer.content == b""


def test_upload_twice(api, photos):
    first = put(api, photos, "/a.txt", b"one")
    skipped = harness.upload(api, photos.id, "/a.txt", b"one")
    assert skipped.json()["id"] == first["id"] and skipped.headers.get("x-item-op", "skip") == "skip"
    overwritten = put(api, photos, "/a.txt", b"two!", mode="overwrite")
    assert overwritten["id"] == first["id"] and overwritten["metadata"]["system"]["size"] == 4
    assert api.call("GET", f"/items/{first['id']}/stream").content == b"two!"


def test_large_upload_takes_no_memory(api, server, photos):
    content = random.Random(1).randbytes(30 << 20)
    put(api, photos, "/warm.bin", content[:1 << 20])
    before = server.memory_peak()
    item = put(api, photos, "/large.bin", content)
    answer = api.call("GET", f"/items/{item['id']}/stream")
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest()
    grown = server.memory_peak() - before
    assert grown < (10 << 10) * harness.SLOW, f"{grown} KiB more for 30 MiB"


@pytest.mark.skipif(harness.SANITIZED, reason="sanitizers count their own memory, and hash slowly")
def test_two_gibibytes(api, server, photos):
    """Uploaded as dtlpy does it, chunked, and read back at its end: the server's memory does not notice."""
    size, block = 2 << 30, bytes(1 << 20)
    boundary = "two-gibibytes"

    def body():
        for name, value in (("type", "file"), ("path", "/huge.bin")):
            yield f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        yield (f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="huge.bin"\r\n'
               "content-type: application/octet-stream\r\n\r\n").encode()
        for _ in range(size // len(block) - 1):
            yield block
        yield block[:-4] + b"last"
        yield f"\r\n--{boundary}--\r\n".encode()

    before = server.memory_peak()
    answer = api.call("POST", f"/datasets/{photos.id}/items?mode=overwrite", data=body(), timeout=600,
                      headers={"content-type": f"multipart/form-data; boundary={boundary}"})
    assert answer.status_code == 200, answer.text
    item = answer.json()
    assert item["metadata"]["system"]["size"] == size
    end = api.call("GET", f"/items/{item['id']}/stream", headers={"range": f"bytes={size - 8}-"})
    assert end.status_code == 206 and end.content == bytes(4) + b"last"
    read = 0
    with api.call("GET", f"/items/{item['id']}/stream", stream=True, timeout=600) as whole:
        for piece in whole.iter_content(1 << 20):
            read += len(piece)
    assert read == size
    grown = server.memory_peak() - before
    assert grown < 16 << 10, f"{grown} KiB more for 2 GiB"
    api.delete(f"/items/{item['id']}")


def test_ranges(api, photos):
    content = bytes(range(256)) * 40
    item = put(api, photos, "/range.bin", content)
    size = len(content)
    stream = f"/items/{item['id']}/stream"
    for text, first, last in (("bytes=0-", 0, size - 1), ("bytes=100-199", 100, 199), ("bytes=-10", size - 10, size - 1),
                              (f"bytes={size - 1}-", size - 1, size - 1), ("bytes=5-999999", 5, size - 1)):
        answer = api.call("GET", stream, headers={"Range": text})
        assert answer.status_code in (200, 206) and answer.content == content[first:last + 1], text
        if answer.status_code == 206:
            assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert api.call("GET", stream, headers={"Range": f"bytes={size}-"}).status_code == 416
    assert api.call("GET", stream, headers={"Range": "lines=1-2"}).content == content


def test_conditional_downloads(api, photos):
    """A download that goes on never joins the bytes of two files."""
    item = put(api, photos, "/part.bin", b"0123456789")
    stream = f"/items/{item['id']}/stream"
    tag = api.call("GET", stream).headers["etag"]
    assert tag == f'"{hashlib.sha256(b"0123456789").hexdigest()}"'
    answer = api.call("GET", stream, headers={"Range": "bytes=5-", "If-Range": tag})
    assert (answer.status_code, answer.content) == (206, b"56789")
    for other in ('"stale"', "W/" + tag, "Wed, 21 Oct 2015 07:28:00 GMT", tag.strip('"')):
        answer = api.call("GET", stream, headers={"Range": "bytes=5-", "If-Range": other})
        assert (answer.status_code, answer.content) == (200, b"0123456789"), other
    for known in (tag, f'"x", W/{tag}', "*"):
        answer = api.call("GET", stream, headers={"If-None-Match": known, "Range": "bytes=99-"})
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == tag
    assert api.call("GET", stream, headers={"If-None-Match": '"x"'}).content == b"0123456789"
    put(api, photos, "/part.bin", b"abcdefghij", mode="overwrite")
    answer = api.call("GET", stream, headers={"Range": "bytes=5-", "If-Range": tag})
    assert (answer.status_code, answer.content) == (200, b"abcdefghij")


@pytest.mark.parametrize("path", ["no-slash", "/../up", "/a/../../b", "/a\x00b", "/" + "x" * 5000, "/a//b", "/./x", ""])
def test_bad_paths(api, photos, path):
    """Every path is refused, or kept inside the dataset."""
    answer = harness.upload(api, photos.id, path, b"x")
    assert answer.status_code in (200, 201, 400), answer.text
    if answer.ok:
        made = answer.json()["filename"]
        assert made.startswith("/") and ".." not in made.split("/") and "\0" not in made


def test_upload_needs_its_parts(api, photos):
    answer = api.call("POST", f"/datasets/{photos.id}/items", files=[("path", (None, "/x"))])
    assert answer.status_code == 400
    answer = api.call("POST", f"/datasets/{photos.id}/items", data=b"nothing", headers={"content-type": "text/plain"})
    assert answer.status_code in (400, 415)


@pytest.mark.parametrize("field, value", [("path", "/p2"), ("type", "file"), ("metadata", "{}"), ("description", "d"),
                                          ("file", "x")])
def test_a_repeated_part(api, photos, field, value):
    parts = [("path", (None, "/p1")), ("type", (None, "file")), ("metadata", (None, "{}")), ("description", (None, "")),
             ("file", ("f", b"x", "text/plain"))]
    again = (field, ("f", value) if field == "file" else (None, value))
    assert api.bad(400, "POST", f"/datasets/{photos.id}/items", files=parts + [again])["field"] == field
    assert api.bad(400, "POST", f"/datasets/{photos.id}/items", files=[again] + parts)["field"] == field
    form = [("type", "dir"), ("path", "/p1"), ("metadata", "{}"), ("description", "")]
    if field != "file":
        assert api.bad(400, "POST", f"/datasets/{photos.id}/items", data=form + [(field, value)])["field"] == field
    assert photos.items.list().items_count == 0


@pytest.mark.parametrize("type", [b"text/\x01plain", b"text/plain\x1b[31m", b"text/plain\x7f", b"text/\xffplain"])
def test_a_content_type_with_odd_bytes(api, photos, type):
    body = b"\r\n".join([b"--XX", b'Content-Disposition: form-data; name="path"', b"", b"/p1",
                         b"--XX", b'Content-Disposition: form-data; name="file"; filename="f"', b"Content-Type: " + type,
                         b"", b"bytes", b"--XX--", b""])
    answer = api.call("POST", f"/datasets/{photos.id}/items", data=body,
                      headers={"content-type": "multipart/form-data; boundary=XX"})
    assert answer.status_code == 400 and answer.json()["field"] == "file", answer.text
    assert photos.items.list().items_count == 0


# ── what is kept about them ──────────────────────────────────────────────────────────────────


def test_metadata(dl, photos):
    item = photos.items.upload(local_path=io.BytesIO(b"x"), remote_name="m.txt")
    item.metadata["user"] = {"colour": "blue", "deep": {"a": 1, "b": [1, 2]}}
    item = item.update()
    again = photos.items.get(item_id=item.id)
    assert again.metadata["user"] == {"colour": "blue", "deep": {"a": 1, "b": [1, 2]}}
    again.metadata["user"]["deep"]["a"] = 2
    again.update()
    kept = photos.items.get(item_id=item.id).metadata
    assert kept["user"]["deep"] == {"a": 2, "b": [1, 2]} and kept["system"]["size"] == 1


def test_delete(dl, photos):
    item = photos.items.upload(local_path=io.BytesIO(b"x"), remote_name="d.txt")
    assert item.delete()
    with pytest.raises(dl.exceptions.NotFound):
        photos.items.get(item_id=item.id)


def test_delete_by_filter(dl, api, photos):
    for number in range(6):
        put(api, photos, f"/{'keep' if number % 2 else 'drop'}/{number}.txt")
    filters = dl.Filters(field="dir", values="/drop")
    photos.items.delete(filters=filters)
    left = [item.filename for page in photos.items.list() for item in page if item.type == "file"]
    assert sorted(left) == ["/keep/1.txt", "/keep/3.txt", "/keep/5.txt"]


def many(api, dataset, count):
    for index in range(count):
        answer = harness.upload(api, dataset, f"/many/{index:03}.txt", b"x", metadata='{"user": {"index": %d}}' % index)
        assert answer.ok, answer.text


def test_null_means_absent_where_things_change(dl, api, project, unique):
    """A term without a value must never turn into "everything"."""
    dataset = project.datasets.create(dataset_name=unique("null"))
    many(api, dataset.id, 3)
    query = f"/datasets/{dataset.id}/query"

    def left():
        return api.post(query, {"filter": {"type": "file"}})["totalItemsCount"]

    dataset.items.delete(filters=dl.Filters(field="filename", values=None))
    api.post(query, {"delete": True, "filter": {"filename": None}})
    api.bad(400, "POST", query, {"delete": True, "filter": {"$or": []}})
    joined = dl.Filters()
    joined.add_join(field="type", values="box")
    api.bad(400, "POST", query, {"delete": True, **joined.prepare()})
    assert left() == 3
    dataset.items.delete(filters=dl.Filters(field="metadata.user.reviewed", values=None))
    assert left() == 0, "none of them was reviewed"


def test_an_update_fits_all_or_none(api, project, unique):
    dataset = project.datasets.create(dataset_name=unique("whole")).id
    many(api, dataset, 210)
    full = api.post(f"/datasets/{dataset}/query", {"filter": {"filename": "/many/209.txt"}})["items"][0]
    api.patch(f"/items/{full['id']}", {"metadata": {"user": {"big": "y" * 1040000}}})
    query = {"filter": {"type": "file"}, "update": {"metadata": {"user": {"mark": "z" * 20000}}}}
    error = api.bad(400, "POST", f"/datasets/{dataset}/query", query)
    assert "metadata" in error["message"]
    marked = {"filter": {"metadata.user.mark": {"$exists": True}}}
    assert api.post(f"/datasets/{dataset}/query", marked)["totalItemsCount"] == 0
    query["filter"] = {"metadata.user.index": {"$lt": 209}, "type": "file"}
    assert api.post(f"/datasets/{dataset}/query", query)["itemsCount"] == 209
    assert api.post(f"/datasets/{dataset}/query", marked)["totalItemsCount"] == 209
    api.bad(400, "POST", f"/datasets/{dataset}/query", {"filter": {}, "update": {"filename": "/one.txt"}})


def test_filters(dl, api, photos):
    for number in range(8):
        item = put(api, photos, f"/{'ab'[number % 2]}/{number}.txt", b"x" * number)
        api.patch(f"/items/{item['id']}", {"metadata": {"user": {"n": number, "even": number % 2 == 0}}})

    def names(*terms, **more):
        filters = dl.Filters(**more)
        for field, values, operator in terms:
            filters.add(field=field, values=values, operator=operator)
        return sorted(item.name for page in photos.items.list(filters=filters) for item in page if item.type == "file")

    every = [f"{number}.txt" for number in range(8)]
    assert names() == every
    assert names(("filename", "/a/*", None)) == every[::2]
    assert names(("filename", "/a/2.txt", None)) == ["2.txt"]
    assert names(("dir", "/b", None)) == every[1::2]
    assert names(("metadata.user.n", 3, dl.FiltersOperations.GREATER_THAN)) == every[4:]
    assert names(("metadata.user.n", [1, 2, 99], dl.FiltersOperations.IN)) == ["1.txt", "2.txt"]
    assert names(("metadata.user.even", True, None)) == every[::2]
    assert names(("metadata.user.none", True, dl.FiltersOperations.EXISTS)) == []
    assert names(("name", "0.txt", dl.FiltersOperations.NOT_EQUAL)) == every[1:]
    with_or = dl.Filters()
    with_or.add(field="name", values="1.txt", method=dl.FiltersMethod.OR)
    with_or.add(field="name", values="2.txt", method=dl.FiltersMethod.OR)
    assert sorted(item.name for page in photos.items.list(filters=with_or) for item in page) == ["1.txt", "2.txt"]


@pytest.mark.parametrize("filter", [{"$and": 5}, {"$bogus": []}, {"name": {"$bogus": 1}}, {"name": {"$in": 5}},
                                    {"$and": [{"$or": [[]]}]}, []])
def test_bad_filters(api, photos, filter):
    api.bad(400, "POST", f"/datasets/{photos.id}/query", {"filter": filter, "page": 0, "pageSize": 10, "resource": "items"})


@pytest.mark.parametrize("change, field", [
    ({"update": "x"}, "update"), ({"update": []}, "update"), ({"delete": "yes"}, "delete"), ({"delete": 1}, "delete"),
    ({"delete": True, "update": {}}, "delete"), ({"systemSpace": "x"}, "systemSpace"), ({"context": 5}, "context"),
    ({"context": {"datasets": "x"}}, "context.datasets"), ({"delete": True, "context": 5}, "context"),
    ({"delete": True, "systemSpace": 1}, "systemSpace")])
def test_bad_queries(api, photos, change, field):
    put(api, photos, "/stays.txt")
    path = f"/datasets/{photos.id}/query"
    assert api.bad(400, "POST", path, {"filter": {}, **change})["field"] == field
    page = api.post(path, {"filter": {"type": "file"}, "update": None, "delete": False, "context": None})
    assert [one["filename"] for one in page["items"]] == ["/stays.txt"]


def test_a_context_narrows(api, photos):
    put(api, photos, "/stays.txt")
    path = f"/datasets/{photos.id}/query"
    elsewhere = {"filter": {"type": "file"}, "context": {"datasets": ["0" * 24]}}
    assert api.post(path, elsewhere)["items"] == []
    assert api.post(path, {**elsewhere, "delete": True})["itemsCount"] == 0
    assert api.post(path, {**elsewhere, "context": {"datasets": [photos.id]}})["totalItemsCount"] == 1


def test_paging_over_a_thousand(dl, api, photos):
    """Enough for dtlpy's second page, which it asks for by the last id of the first."""
    count = 1_205
    for number in range(count):
        put(api, photos, f"/many/{number:05}.txt", b"%d" % number)
    pages = photos.items.list(filters=dl.Filters(field="type", values="file"))
    assert pages.items_count == count
    seen = [item.filename for page in pages for item in page]
    assert len(seen) == count and len(set(seen)) == count
    sizes = dl.Filters(field="dir", values="/many")
    sizes.page_size = 100
    assert sum(1 for page in photos.items.list(filters=sizes) for _ in page) == count


def test_page_of_nothing_is_the_total(api, photos):
    for number in range(6):
        put(api, photos, f"/{number}.txt")
    page = api.post(f"/datasets/{photos.id}/query", {"filter": {"type": "file"}, "pageSize": 0, "page": 1})
    assert page == {"items": [], "totalItemsCount": 6, "totalPagesCount": 0, "hasNextPage": False}
    assert api.get("/executions?pageSize=0")["items"] == []


def test_pages_of_datasets(api, project, unique):
    names = sorted(unique("paged") for _ in range(5))
    for name in names:
        api.post("/datasets", {"name": name, "projectId": project.id})
    path = f"/datasets?projects={project.id}"
    every = [one["name"] for one in api.get(path)]
    assert set(names) <= set(every)
    pages = [[one["name"] for one in api.get(f"{path}&pageSize=2&pageOffset={number}")]
             for number in range(len(every) // 2 + 1)]
    assert sum(pages, []) == every and len(pages[0]) == 2
    assert api.get(f"{path}&pageSize=0") == []
    for wrong in ("pageSize=abc", "pageSize=-1", "pageSize=", "pageSize=1001", "pageOffset=x"):
        assert api.bad(400, "GET", f"{path}&{wrong}")["field"] == wrong.split("=")[0]


def test_pages_by_number(api, photos):
    for number in range(7):
        put(api, photos, f"/{number}.txt")
    query = {"filter": {"type": "file"}, "sort": {"filename": "descending"}, "pageSize": 3, "resource": "items"}
    pages = [api.post(f"/datasets/{photos.id}/query", {**query, "page": page}) for page in range(3)]
    assert [item["name"] for page in pages for item in page["items"]] == [f"{n}.txt" for n in range(6, -1, -1)]
    assert [page["hasNextPage"] for page in pages] == [True, True, False]
    assert {page["totalItemsCount"] for page in pages} == {7} and {page["totalPagesCount"] for page in pages} == {3}
