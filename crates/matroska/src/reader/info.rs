//! The elements Info and Tags.

use std::time::Duration;

use crate::{
    ids,
    muxer::header::MUXING_APP,
    reader::{
        damage::DamageKind,
        element::{Element, Elements},
    },
    segment::{SegmentInfo, Tag, system_time},
};

/// What Info says.
pub(crate) struct InfoElement {
    /// All but the tags, which are no part of Info.
    pub(crate) info: SegmentInfo,
    pub(crate) muxing_app: String,
    pub(crate) layout_version: Option<u64>,
    pub(crate) tick_ns: u64,
    pub(crate) duration: Option<Duration>,
}

impl InfoElement {
    pub(crate) fn read(children: Elements) -> Result<Self, DamageKind> {
        let mut read = Self {
            info: SegmentInfo::default(),
            muxing_app: String::new(),
            layout_version: None,
            tick_ns: 1_000_000,
            duration: None,
        };
        let mut duration_ticks = None;
        for child in children {
            let child = child?;
            match child.id {
                ids::TIMESTAMP_SCALE => read.tick_ns = child.uint()?,
                ids::DURATION => duration_ticks = Some(child.float()?),
                ids::DATE_UTC => read.info.date = system_time(child.sint()?),
                ids::TITLE => read.info.title = child.text(),
                ids::MUXING_APP => read.muxing_app = child.text(),
                ids::WRITING_APP => read.info.writing_app = child.text(),
                _ => {}
            }
        }
        if read.tick_ns == 0 {
            return Err(DamageKind::Malformed);
        }
        let version = read.muxing_app.strip_prefix(MUXING_APP);
        read.layout_version = version.and_then(|version| version.parse().ok());
        read.duration = duration_ticks.and_then(|ticks| duration(ticks, read.tick_ns));
        Ok(read)
    }
}

/// Reads the tags; those that concern a part of the file are taken as well.
pub(crate) fn read_tags(children: Elements) -> Result<Vec<Tag>, DamageKind> {
    let mut tags = Vec::new();
    for tag in children {
        let tag = tag?;
        if tag.id != ids::TAG {
            continue;
        }
        for simple in tag.children() {
            let simple = simple?;
            if simple.id == ids::SIMPLE_TAG {
                tags.extend(read_simple_tag(&simple)?);
            }
        }
    }
    Ok(tags)
}

fn read_simple_tag(simple: &Element) -> Result<Option<Tag>, DamageKind> {
    let mut name = None;
    let mut value = String::new();
    for child in simple.children() {
        let child = child?;
        match child.id {
            ids::TAG_NAME => name = Some(child.text()),
            ids::TAG_STRING => value = child.text(),
            _ => {}
        }
    }
    Ok(name.map(|name| Tag { name, value }))
}

#[expect(clippy::cast_precision_loss, reason = "the ticks are a float already")]
fn duration(ticks: f64, tick_ns: u64) -> Option<Duration> {
    Duration::try_from_secs_f64(ticks * tick_ns as f64 / 1e9).ok()
}
