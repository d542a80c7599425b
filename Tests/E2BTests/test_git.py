"""The git helpers, which run git in the sandbox."""

import pytest
from conftest import has, make


@pytest.fixture(scope="module")
def repository():
    sandbox = make("code-interpreter-v1")
    try:
        has(sandbox, "git")
        git = sandbox.git
        git.configure_user("Ann Example", "ann@example.com")
        git.init("/home/user/origin.git", bare=True, initial_branch="main")
        git.init("/home/user/work", initial_branch="main")
        yield sandbox
    finally:
        sandbox.kill()


def test_a_whole_day_of_work(repository):
    git, files, work = repository.git, repository.files, "/home/user/work"
    files.write(f"{work}/file.txt", "one\n")
    assert [entry.name for entry in git.status(work).file_status] == ["file.txt"]
    git.add(work)
    git.commit(work, "First 'quoted' commit")
    assert git.status(work).is_clean
    git.remote_add(work, "origin", "/home/user/origin.git")
    git.push(work, remote="origin", branch="main")
    git.create_branch(work, "feature")
    assert git.branches(work).current_branch == "feature"
    files.write(f"{work}/file.txt", "two\n")
    git.restore(work, paths=["file.txt"])
    assert files.read(f"{work}/file.txt") == "one\n"
    git.checkout_branch(work, "main")
    git.delete_branch(work, "feature")
    assert git.branches(work).branches == ["main"]
    git.clone("/home/user/origin.git", path="/home/user/copy")
    assert files.read("/home/user/copy/file.txt") == "one\n"
    files.write(f"{work}/b", "b")
    git.add(work)
    git.commit(work, "Second")
    git.push(work, remote="origin", branch="main")
    git.pull("/home/user/copy", remote="origin", branch="main")
    assert files.read("/home/user/copy/b") == "b"
    git.reset(work, mode="hard", target="HEAD~1")
    assert not files.exists(f"{work}/b")
    git.set_config("pull.rebase", "false")
    assert git.get_config("pull.rebase") == "false"
