//! Lists of members that are loaded page by page, while members come and go.

use magpie_protocol::{
    id::UserId,
    limits::MARKED_MEMBERS_MAX,
    role::Role,
    seq::Seq,
    wire::v1::{self, event_content::Kind},
};

use super::{ALICE, CHAT, Device, description, device, event, events, user, welcome};
use crate::{
    database::{MembersPage, Work},
    model::{ConversationLine, MembersPlace},
};

/// More than a description names.
const CROWD: u64 = 1_000;

fn id(number: u8) -> UserId {
    UserId::new([number; 16])
}

fn wire(number: u8) -> v1::User {
    user(id(number), &format!("user{number:03}"))
}

fn alice() -> v1::Member {
    v1::Member {
        user: Some(user(ALICE, "alice")),
        read_seq: 1,
        ..Default::default()
    }
}

/// A description of a large group, as of `head`.
fn crowd(head: u64, count: u64) -> v1::Conversation {
    v1::Conversation {
        kind: v1::ConversationKind::Group.into(),
        title: "crowd".to_owned(),
        members: vec![alice()],
        member_count: count,
        ..description(head)
    }
}

fn described(description: v1::Conversation, of: impl IntoIterator<Item = v1::Event>) -> v1::Page {
    v1::Page {
        conversations: vec![description],
        events: of.into_iter().collect(),
        ..events([])
    }
}

fn change(seq: u64, kind: Kind) -> v1::Event {
    v1::Event {
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..event(seq)
    }
}

fn added(seq: u64, who: &[u8]) -> v1::Event {
    let members = who.iter().map(|number| wire(*number)).collect();
    change(seq, Kind::MembersAdded(v1::MembersAdded { members }))
}

fn removed(seq: u64, who: u8) -> v1::Event {
    let member = Some(wire(who));
    change(seq, Kind::MemberRemoved(v1::MemberRemoved { member }))
}

fn page_of(of: impl IntoIterator<Item = v1::Event>) -> v1::Page {
    v1::Page {
        events: of.into_iter().collect(),
        ..events([])
    }
}

/// The numbers of the members that are listed, besides Alice.
fn listed(device: &mut Device) -> Vec<u8> {
    let members = device.database.members(CHAT).unwrap().members;
    let others = members.iter().filter(|it| it.user.id != ALICE);
    others.map(|it| it.user.id.bytes()[0]).collect()
}

fn rest(device: &mut Device) -> Option<MembersPlace> {
    device.database.members(CHAT).unwrap().rest
}

fn line(device: &mut Device) -> ConversationLine {
    device.database.conversations().unwrap().remove(0)
}

/// What the server answers to who asks for what is behind `place`.
fn answer(place: MembersPlace, who: &[u8], complete: bool, at_seq: u64) -> Work {
    let members: Vec<_> = who.iter().map(|number| (*number, None)).collect();
    answer_with_roles(place, &members, complete, at_seq)
}

fn answer_with_roles(
    place: MembersPlace,
    who: &[(u8, Option<Role>)],
    complete: bool,
    at_seq: u64,
) -> Work {
    let members = who.iter().map(|(number, role)| v1::Member {
        user: Some(wire(*number)),
        role: role.map_or(v1::Role::Unspecified, Role::to_wire).into(),
        ..Default::default()
    });
    let page = v1::Members {
        members: members.collect(),
        complete,
        at_seq,
        ..Default::default()
    };
    let page = MembersPage::parse(place, page).unwrap();
    Work::Members { page, ask: 7 }
}

#[test]
fn a_large_group_is_counted_before_it_is_listed() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let shown = line(&mut device);
    assert_eq!((shown.member_count, shown.members.len()), (CROWD, 1));
    assert_eq!(shown.unread, 0, "the own read mark is there");
    device.page(page_of([added(2, &[200, 201]), removed(3, 5)]));
    assert_eq!(line(&mut device).member_count, CROWD + 1);
    // The same events again count no second time.
    device.page(page_of([added(2, &[200, 201]), removed(3, 5)]));
    let members = device.database.members(CHAT).unwrap();
    assert_eq!(members.count, CROWD + 1);
    let place = MembersPlace {
        conversation: CHAT,
        after: None,
    };
    assert_eq!(members.rest, Some(place));
}

#[test]
fn a_list_is_loaded_in_pages_across_kills_while_members_come_and_go() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let first = rest(&mut device).unwrap();
    device.work(vec![answer(first, &[1, 2, 3], false, 1)]);
    let mut device = device.reopen();
    device.page(page_of([removed(2, 2), added(3, &[9])]));
    let next = rest(&mut device).unwrap();
    assert_eq!(next.after, Some(id(3)));
    // The page has taken in what has not come here yet.
    let changes = device.work(vec![answer(next, &[4, 6, 9], false, 5)]);
    assert_eq!(changes.listed, [(7, false)]);
    let mut device = device.reopen();
    device.page(page_of([added(4, &[5, 6]), removed(5, 5)]));
    let next = rest(&mut device).unwrap();
    // Nor has this one what came while it was on its way.
    device.page(page_of([removed(6, 7), added(7, &[2])]));
    let changes = device.work(vec![answer(next, &[7, 8], true, 5)]);
    assert_eq!(changes.listed, [(7, true)]);
    assert_eq!(rest(&mut device), None);
    assert_eq!(listed(&mut device), [1, 2, 3, 4, 6, 8, 9]);
    // And on from there.
    let mut device = device.reopen();
    device.page(page_of([removed(8, 1), event(9), added(10, &[1, 30])]));
    assert_eq!(listed(&mut device), [1, 2, 3, 4, 6, 8, 9, 30]);
    let members = device.database.members(CHAT).unwrap();
    assert_eq!(members.count, members.members.len() as u64);
}

#[test]
fn changes_that_come_late_are_followed_in_their_order() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let first = rest(&mut device).unwrap();
    device.work(vec![answer(first, &[1, 2], true, 1)]);
    // 2 is missing, and comes after 3.
    device.page(page_of([removed(3, 9)]));
    device.page(page_of([added(2, &[9])]));
    assert_eq!(listed(&mut device), [1, 2]);
    assert_eq!(line(&mut device).member_count, CROWD);
}

#[test]
fn a_description_keeps_a_list_that_has_followed_every_event() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let first = rest(&mut device).unwrap();
    device.work(vec![answer(first, &[1, 2], true, 1)]);
    device.page(page_of([added(2, &[9]), event(3)]));
    device.page(described(crowd(3, CROWD + 1), []));
    assert_eq!(rest(&mut device), None);
    assert_eq!(listed(&mut device), [1, 2, 9]);
    // What lies between is history: perhaps somebody came or went in it.
    device.page(described(crowd(9, CROWD), [event(9)]));
    assert!(listed(&mut device).is_empty());
    assert_eq!(rest(&mut device), Some(first));
    assert_eq!(line(&mut device).member_count, CROWD);
}

#[test]
fn an_answer_for_another_list_than_this_is_dropped() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let first = rest(&mut device).unwrap();
    device.page(described(crowd(9, CROWD), [event(9)]));
    // It was read before the description.
    let changes = device.work(vec![answer(first, &[1, 2], true, 8)]);
    assert_eq!(changes.listed, [(7, false)]);
    assert!(listed(&mut device).is_empty());
    device.work(vec![answer(first, &[1, 2], false, 9)]);
    // Asked for twice.
    device.work(vec![answer(first, &[1, 2], true, 9)]);
    assert_eq!(rest(&mut device).unwrap().after, Some(id(2)));
    // Of another history.
    device.work(vec![welcome(1)]);
    let next = rest(&mut device).unwrap();
    device.work(vec![welcome(2)]);
    device.work(vec![answer(next, &[3], true, 9)]);
    assert_eq!(listed(&mut device), [1, 2]);
}

#[test]
fn a_small_group_is_listed_whole_however_large_it_grows() {
    let mut device = device();
    let small = v1::Conversation {
        members: vec![alice()],
        member_count: 1,
        ..crowd(1, 1)
    };
    device.page(described(small, [event(1)]));
    assert_eq!(rest(&mut device), None);
    let many: Vec<u8> = (20..20 + MARKED_MEMBERS_MAX as u8).collect();
    device.page(page_of([added(2, &many)]));
    assert_eq!(rest(&mut device), None);
    assert_eq!(listed(&mut device), many);
    let shown = line(&mut device);
    assert_eq!(shown.member_count, many.len() as u64 + 1);
    assert_eq!(shown.members.len(), 1, "of many, oneself");
    let page = v1::Members::default();
    let place = MembersPlace {
        conversation: CHAT,
        after: None,
    };
    assert!(MembersPage::parse(place, page).is_none(), "no way on");
    let marks = device.database.members(CHAT).unwrap().members;
    assert!(marks.iter().all(|member| member.delivered_seq == Seq::ZERO));
}

/// The numbers of the members with a role.
fn with_role(device: &mut Device, role: Role) -> Vec<u8> {
    let members = device.database.members(CHAT).unwrap().members;
    let found = members.iter().filter(|it| it.role == Some(role));
    found.map(|it| it.user.id.bytes()[0]).collect()
}

fn given(seq: u64, who: u8, role: Role) -> v1::Event {
    let changed = v1::RoleChanged {
        member: Some(wire(who)),
        role: role.to_wire().into(),
    };
    change(seq, Kind::RoleChanged(changed))
}

fn left(seq: u64, who: u8, heir: Option<u8>) -> v1::Event {
    let heir = heir.map(wire);
    v1::Event {
        sender: Some(wire(who)),
        ..change(seq, Kind::MemberLeft(v1::MemberLeft { heir }))
    }
}

#[test]
fn roles_are_followed_whatever_crosses() {
    let mut device = device();
    device.page(described(crowd(1, CROWD), [event(1)]));
    let first = rest(&mut device).unwrap();
    let page = |place, who: &[(u8, Role)], complete, at_seq| {
        let who: Vec<_> = who
            .iter()
            .map(|(number, role)| (*number, Some(*role)))
            .collect();
        answer_with_roles(place, &who, complete, at_seq)
    };
    use Role::{Admin, Member, Owner};
    // Of the moment before 2 and 3.
    device.page(page_of([given(2, 5, Admin), given(3, 5, Owner)]));
    let of_one = [(1, Owner), (2, Member)];
    device.work(vec![page(first, &of_one, false, 1)]);
    assert_eq!(with_role(&mut device, Admin), [1]);
    let next = rest(&mut device).unwrap();
    device.work(vec![page(next, &[(5, Admin), (6, Member)], true, 2)]);
    assert_eq!(with_role(&mut device, Owner), [5]);
    // Late, and then again.
    device.page(page_of([given(5, 2, Owner)]));
    device.page(page_of([given(4, 1, Member), added(6, &[9])]));
    device.page(page_of([given(4, 1, Member), given(5, 2, Owner)]));
    assert_eq!(with_role(&mut device, Owner), [2]);
    assert_eq!(with_role(&mut device, Admin), [5]);
    assert_eq!(with_role(&mut device, Member), [1, 6, 9]);
    device.page(page_of([left(7, 2, Some(6)), left(8, 5, None)]));
    let mut device = device.reopen();
    assert_eq!(with_role(&mut device, Owner), [6]);
    assert!(with_role(&mut device, Admin).is_empty());
    assert_eq!(line(&mut device).member_count, CROWD - 1);
}

#[test]
fn what_is_said_of_a_group_is_followed_in_its_order() {
    let updated = |seq, title: Option<&str>, on: Option<bool>| {
        let updated = v1::GroupUpdated {
            title: title.map(str::to_owned),
            description: None,
            announcement_only: on,
            ..v1::GroupUpdated::default()
        };
        change(seq, Kind::GroupUpdated(updated))
    };
    let mut device = device();
    let description = v1::Conversation {
        description: "people".to_owned(),
        ..crowd(2, CROWD)
    };
    // What the description has taken in comes behind it.
    device.page(described(
        description,
        [event(1), updated(2, Some("old"), None)],
    ));
    device.page(page_of([updated(4, Some("newest"), None)]));
    device.page(page_of([updated(3, Some("new"), Some(true))]));
    let mut device = device.reopen();
    let shown = line(&mut device);
    assert_eq!(
        (shown.title.as_str(), shown.description.as_str()),
        ("newest", "people")
    );
    assert!(shown.announcement_only);
}
