"""The digest of a population: what changes it, and what does not."""

import numpy as np

from autolabel.digests import digest_of, population_digest, pose_digests
from autolabel.poses import Origin, Poses, Visibility


def some_poses(n: int = 5) -> Poses:
    random = np.random.default_rng(n)
    xy = random.normal(100, 30, (n, 4, 2))
    xy[0, 1] = np.nan
    visibility = np.full((n, 4), Visibility.VISIBLE)
    visibility[0, 1] = Visibility.ABSENT
    return Poses.create(
        4,
        id=[f"id{i}" for i in range(n)],
        xy=xy,
        visibility=visibility,
        box=np.array([0, 0, 60, 60]) + random.uniform(0, 50, (n, 4)),
        presence=random.uniform(0.6, 1, (n, 4)),
        origin=np.full((n, 4), Origin.MODEL),
        score=random.uniform(0, 1, (n, 4)),
    )


def test_digest_ignores_order_parts_and_numbers_that_are_no_label() -> None:
    poses = some_poses()
    digest = population_digest(poses)
    assert population_digest(poses.take([4, 2, 0, 1, 3])) == digest
    assert population_digest([poses.take([3]), Poses.empty(4), poses.take([0, 1, 2, 4])]) == digest
    assert population_digest(poses.replace(score=np.zeros((5, 4)), p_bad=np.full(5, 0.5))) == digest
    zero = poses.replace(xy=np.zeros((5, 4, 2)))
    assert population_digest(zero) == population_digest(poses.replace(xy=-np.zeros((5, 4, 2))))
    assert population_digest([]) == population_digest(Poses.empty(4))


def test_any_change_of_a_label_changes_the_digest() -> None:
    poses = some_poses()
    silent = poses.visibility.copy()
    silent[4, 2] = Visibility.UNLABELLED
    poses = poses.replace(visibility=silent)
    xy, box = poses.xy.copy(), poses.box.copy()
    xy[2, 3, 0] = np.nextafter(xy[2, 3, 0], np.float32(1e9))
    box[1, 2] += 0.5
    visibility, presence = poses.visibility.copy(), poses.presence.copy()
    visibility[3, 0] = Visibility.HIDDEN
    presence[4, 2] = 0.1  # now the model says that it lies outside, and nobody states anything else
    ids = poses.id.copy()
    ids[[0, 1]] = ids[[1, 0]]
    changed = [
        poses,
        poses.replace(xy=xy),
        poses.replace(box=box),
        poses.replace(visibility=visibility),
        poses.replace(presence=presence),
        poses.replace(id=ids),
        poses.take([0, 1, 2, 3]),
        poses.take([0, 1, 2, 3, 4, 4]),
    ]
    assert len({population_digest(p) for p in changed}) == len(changed)


def test_the_digest_of_a_population_is_made_of_its_poses_digests() -> None:
    poses = some_poses()
    known = pose_digests(poses)
    assert len(set(known)) == len(poses)
    assert digest_of(known[::-1]) == population_digest(poses)
    assert digest_of(known[:3]) == population_digest(poses.take([0, 1, 2]))
    assert pose_digests(Poses.empty(4)) == []
