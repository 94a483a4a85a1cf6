//! The fenced blocks of SPEC.md.

/// A fenced block. Its first line names its kind and its ID.
pub struct Block {
    pub kind: &'static str,
    pub id: &'static str,
    pub body: Vec<&'static str>,
}

/// The blocks in their order.
pub fn blocks() -> Vec<Block> {
    let mut blocks = Vec::<Block>::new();
    let mut in_block = false;
    for line in include_str!("../../SPEC.md").lines() {
        if let Some(info) = line.strip_prefix("```") {
            in_block = !in_block;
            if in_block {
                let (kind, id) = info.split_once(' ').unwrap_or((info, ""));
                let body = Vec::new();
                blocks.push(Block { kind, id, body });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| in_block) {
            block.body.push(line);
        }
    }
    assert!(!in_block, "SPEC.md ends within a fenced block");
    blocks
}
